"""Writes docs/parameters.md from the tables in translate/: `uv run python docs/make_parameters.py`."""

from pathlib import Path

from translate.blocks import BLOCKS
from translate.chat.finish_reason import FINISH_REASON
from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS, Parameter
from translate.completions import COMPLETION_PARAMETERS
from translate.responses.parameters import RESPONSE_PARAMETERS

PAGE = Path(__file__).with_name("parameters.md")

HEAD = """\
# What becomes of each parameter

Made from the tables in `translate/` by `docs/make_parameters.py`; a test keeps the two alike.

- **honoured**: it reaches Claude, or shapes the answer.
- **refused**: 400 with `code: unsupported_parameter` and the parameter's name in `param`.
- **accepted without effect**: named in the answer's header `x-understudy-ignored`, and in the log.

null, and a value that asks for nothing special (in the last column), is always fine. A name that OpenAI does not
know gets OpenAI's 400.

## POST /v1/chat/completions

| parameter | fate | how, or why | fine values |
|---|---|---|---|
"""


RESPONSES = """
## POST /v1/responses

| parameter | fate | how, or why | fine values |
|---|---|---|---|
"""

COMPLETIONS = """
## POST /v1/completions

| parameter | fate | how, or why | fine values |
|---|---|---|---|
"""

REASONS = """
## Why an answer ends

| Claude's `stop_reason` | OpenAI's `finish_reason` |
|---|---|
"""

BLOCKS_HEAD = """
A stop reason that is not in the table ends in `stop`: the message did end, and that is all there is to know.

## What becomes of each kind of Claude's content blocks

| block | in the answer |
|---|---|
"""

SCHEMAS = """
## Schemas of tools and answers

Anthropic compiles the schemas of strict tools and of `response_format` to a grammar, to which Claude is held. It does
not take all schemas that OpenAI takes. An app does not get an error for that. The schema is sent without a grammar: a
tool without `strict`, a `response_format` as an instruction. The header `x-understudy-ignored` then names the
`strict` that has no effect.

- Anthropic's limits for one request: 20 strict tools, 24 optional parameters, and 16 parameters with a union type
  (`anyOf`, or a list as `type`), over all strict tools and `response_format` together. `response_format` counts
  first, then the tools in their order. What is beyond the limits is sent without a grammar.
- The API may answer that the compiled grammar is too large, or that a schema is too complex. Then the request is sent
  once more, without any grammar. Later requests with the same schemas are sent without it at once.
- The same is done for schemas that refer to themselves, for objects with free names of properties, for schemas that
  accept any value (`{}`), and for literals that are objects or lists.
- Keywords that Anthropic's grammar lacks (`minimum`, `pattern`, `examples` …) are told in the description.

JSON that was asked for in words (`json_object`, and schemas without a grammar) is checked before the answer is sent. If
it does not follow the format, Claude is asked once more; the usage is that of both tries. If that does not help, the
answer has the header `x-understudy-format: not followed`. A stream has been sent by then, and so has a background
response: of these only the proxy's log tells it, with the rule of the schema that is broken.

Anthropic accepts only property names that match `^[a-zA-Z0-9_.-]{1,64}$`. A tool's other names (`filter[id]`, `$.x`,
names that are not ASCII or too long) are replaced on the way to Claude: in its schema and in the calls of the history.
In the calls of the answer they are put back, also while they stream. Claude's name is always the same for a name.
A recording has the app's names.
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
    return (
        f"{HEAD}{parameters}{RESPONSES}{responses}{COMPLETIONS}{legacy}{REASONS}{reasons}{BLOCKS_HEAD}{blocks}{SCHEMAS}"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
