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
