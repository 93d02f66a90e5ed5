"""Writes docs/parameters.md from the table in translate/parameters.py: `uv run python docs/make_parameters.py`."""

from pathlib import Path

from translate.parameters import CHAT_COMPLETION_PARAMETERS, Parameter

PAGE = Path(__file__).with_name("parameters.md")

HEAD = """\
# What becomes of each parameter

Made from `translate/parameters.py` by `docs/make_parameters.py`; a test keeps the two alike.

- **honoured**: it reaches Claude, or shapes the answer.
- **refused**: 400 with `code: unsupported_parameter` and the parameter's name in `param`.
- **accepted without effect**: named in the answer's header `x-understudy-ignored`, and in the log.

null, and a value that asks for nothing special (in the last column), is always fine. A name that OpenAI does not know gets OpenAI's 400.

## POST /v1/chat/completions

| parameter | fate | how, or why | fine values |
|---|---|---|---|
"""


def row(name: str, parameter: Parameter) -> str:
    """Return a parameter's row."""
    fine = ", ".join(f"`{value!r}`" for value in parameter.unless)
    return f"| `{name}` | {parameter.fate.value} | {parameter.how} | {fine} |\n"


def page() -> str:
    """Return the page."""
    return HEAD + "".join(row(name, parameter) for name, parameter in sorted(CHAT_COMPLETION_PARAMETERS.items()))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
