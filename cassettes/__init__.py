"""Cassettes: recorded exchanges, as text. They know no proxy and no engine.

The glossary:

- a *cassette* is one ``.jsonl`` file, or a folder with one for each run; beside ``NAME.jsonl`` lies ``NAME.jsonl.d/``;
- an *entry* is one exchange: the app's request, the Turn made of it, Claude's events, the chunks sent to the app and
  how it ended; in the file it is a block of lines that all name it;
- a *journal* is the block of an exchange that still runs, in a file of its own;
- a *blob* is a large piece of base64, kept beside the cassette once;
- a *pseudonym* stands where a secret was (``redacted:key-1``).
"""
