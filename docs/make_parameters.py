"""Writes docs/parameters.md from the tables in translate/: `uv run python docs/make_parameters.py`."""

from pathlib import Path

from translate.blocks import BLOCKS
from translate.chat.finish_reason import FINISH_REASON
from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS, Parameter
from translate.completions import COMPLETION_PARAMETERS
from translate.responses.parameters import RESPONSE_PARAMETERS

PAGE = Path(__file__).with_name("parameters.md")

HEAD = """\
# How each parameter is handled

`docs/make_parameters.py` writes this page from the tables in `translate/`.

- **honoured**: the parameter reaches Claude, or changes the answer.
- **refused**: the request gets a 400 with `code: unsupported_parameter` and the parameter's name in `param`.
- **accepted without effect**: the answer's header `x-understudy-ignored` and the log name the parameter.

null is always accepted, and so are the values in the last column, which ask for nothing special. A parameter that
OpenAI does not know gets a 400, as at OpenAI.

The same holds for the keys inside a parameter, at every depth: in messages, content parts, items, tools, `tool_choice`,
`response_format` and the rest. A key that nothing reads is named by its path: `messages[2].content[0].cache_control`.
Paths that differ only in their indexes become one: `messages[].content[].cache_control`. The header names at most 100
paths in 4,000 characters, and counts the rest. Inside a JSON schema, `metadata` and the arguments of a call, all keys
are the app's own and none is reported.

Over a [WebSocket](responses.md) an answer has no headers. There the first message of an answer has the header in its
field `headers`: `{"type": "response.created", …, "headers": {"x-understudy-ignored": "input[0].cache_control"}}`.
`POST /v1/conversations` and its items name the keys of items in the same header. The items are kept whole.

`understudy explain request.json` shows all this for one request, and sends nothing: how each key is handled and why,
which Claude model answers, and the system prompt, messages, tools and parameters that Claude would get. `-` reads the
request from stdin, and `--json` prints JSON. The exit status is 1 if the request would be refused.

```console
$ understudy explain request.json
POST /v1/chat/completions
model: gpt-5-mini is answered by claude-haiku-5-5

key                                 handling  how, or why
model                               honoured  mapped onto a Claude model; …
messages[].content[].cache_control  ignored   Claude Code sets its own cache breakpoints, and …
seed                                ignored   Claude does not sample by seed; …
…
Claude is asked:
  system: Be kind.
  user: Hi
```

`cache_control` (Anthropic's key) and `prompt_cache_breakpoint` (OpenAI's) have no effect in any place. Claude Code sets
three cache breakpoints itself: after its own first words, after the system prompt and after the last message. It passes
on others as they are, and Claude's API refuses a request with more than four, or with a longer lifetime after a shorter
one. So the prompt is cached anyway, up to the last message.

## POST /v1/chat/completions

| parameter | handling | how, or why | always accepted |
|---|---|---|---|
"""


RESPONSES = """
## POST /v1/responses

| parameter | handling | how, or why | always accepted |
|---|---|---|---|
"""

COMPLETIONS = """
## POST /v1/completions

| parameter | handling | how, or why | always accepted |
|---|---|---|---|
"""

REASONS = """
## Why an answer ends

| Claude's `stop_reason` | OpenAI's `finish_reason` |
|---|---|
"""

BLOCKS_HEAD = """
A stop reason that is not in the table becomes `stop`, because the message has ended.

## How each kind of Claude's content blocks is handled

| block | in the answer |
|---|---|
"""


def row(name: str, parameter: Parameter) -> str:
    """Return a parameter's row."""
    fine = ", ".join(f"`{value!r}`" for value in parameter.unless)
    return f"| `{name}` | {parameter.fate.value} | {parameter.how} | {fine} |\n"


def page() -> str:
    """Return the page."""
    parameters = "".join(row(name, parameter) for name, parameter in sorted(CHAT_COMPLETION_PARAMETERS.items()))
    responses = "".join(row(name, parameter) for name, parameter in sorted(RESPONSE_PARAMETERS.items()))
    legacy = "".join(row(name, parameter) for name, parameter in sorted(COMPLETION_PARAMETERS.items()))
    reasons = "".join(f"| `{claude}` | `{openai}` |\n" for claude, openai in FINISH_REASON.items())
    blocks = "".join(f"| `{kind}` | {fate} |\n" for kind, fate in BLOCKS.items())
    return f"{HEAD}{parameters}{RESPONSES}{responses}{COMPLETIONS}{legacy}{REASONS}{reasons}{BLOCKS_HEAD}{blocks}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
