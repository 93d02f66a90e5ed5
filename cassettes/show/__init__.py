"""Looking at cassettes: `understudy show` and `understudy diff`. They know no proxy and no engine.

The glossary:

- a *story* is one recorded exchange told in order: who was asked what, who answered what, how it ended;
- a *part* is one piece of a message: a text, a reasoning, a tool's call, an image …;
- a *timeline* is when the app got what: the wait, the first token, the pace, the stalls;
- a *row* is what a list shows of an exchange;
- *safe* text can be written to a terminal: what a cassette holds is somebody else's.
"""
