"""Shows cassettes: `understudy show` and `understudy diff`. This folder does not use the proxy or the engine.

The words used here:

- a *story* is one recorded exchange in a readable form: request, model, answer, usage and end;
- a *part* is one piece of a message: a text, reasoning, a tool call, an image and so on;
- a *timeline* says when the app received what: the wait, the first token, the speed, the stalls;
- a *row* is the line for one exchange in a list;
- *safe* text has no control characters, so it can be written to a terminal. Cassettes can contain text from anyone.
"""
