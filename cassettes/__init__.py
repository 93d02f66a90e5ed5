"""Cassettes: recorded exchanges as text files. This room knows neither mitmproxy nor Claude Code.

The words used here:

- a *cassette* is one ``.jsonl`` file, or a folder with one such file for each run. ``NAME.jsonl.d/`` beside the file
  holds what belongs to it;
- an *entry* is one recorded exchange: the app's request, the Turn that was made of it (what Claude was asked), Claude's
  events, the chunks that were sent to the app, and how the exchange ended. In the file it is a block of lines, and each
  line names the entry;
- a *journal* is a file with the lines of one exchange that has not ended yet;
- a *blob* is a large piece of base64. It is stored once, in a file of its own;
- a *pseudonym* replaces a secret (``redacted:key-1``).
"""
