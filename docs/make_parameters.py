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

null is always accepted, and so are the values in the last column, because they ask for nothing special. A parameter
that OpenAI does not know gets a 400, as at OpenAI.

The same holds for the keys inside a parameter, at every depth: in messages, content parts, items, tools, `tool_choice`,
`response_format` and the rest. A key that nothing reads is named by its path: `messages[2].content[0].cache_control`.
Paths that differ only in their indexes become one: `messages[].content[].cache_control`. The header names at most 100
paths in 4,000 characters, and counts the rest. Inside a JSON schema, `metadata` and the arguments of a call, the app
chooses the keys, and none is reported.

Over a [WebSocket](responses.md) an answer has no headers. There the first message of an answer has the header's text in
its field `headers`: `{"type": "response.created", …, "headers": {"x-understudy-ignored": "input[0].cache_control"}}`.
`POST /v1/conversations`, and `POST` of its items, name the keys of items in the same header. The items are stored with
all their keys.

`understudy explain request.json` shows all this for one request, without sending it: how each key is handled and why,
which Claude model answers, and the system prompt, messages, tools and parameters that Claude would get. `-` reads the
request from stdin, and `--json` prints JSON. The exit status is 1 if the request would be refused.

```console
$ understudy explain request.json
POST /v1/chat/completions
model: gpt-5-mini is answered by claude-haiku-5-5

key                                 handling  how, or why
model                               honoured  mapped onto a Claude model; …
messages[].content[].cache_control  ignored   Claude Code sets the cache breakpoints itself: …
seed                                ignored   Claude does not sample by seed; …
…
Claude is asked:
  system: Be kind.
  user: Hi
```

`cache_control` (Anthropic's key) and `prompt_cache_breakpoint` (OpenAI's) never have an effect. Claude Code sets
three cache breakpoints itself: after its own first words, after the system prompt and after the last message. So the
prompt is cached anyway, up to the last message. Claude Code would also send the app's breakpoints as they are. But
Claude's API refuses a request with more than four, or with a longer lifetime after a shorter one. So Understudy does
not send them.

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

SCHEMAS = """
## Schemas of tools and answers

Anthropic compiles the schemas of strict tools and of `response_format` to a grammar. The grammar forces Claude to
follow the schema. Anthropic does not accept all schemas that OpenAI accepts. The app gets no error for such a schema.
It is sent without a grammar: a tool is sent without `strict`, and a `response_format` as an instruction. The header
`x-understudy-ignored` then names the `strict` that has no effect.

- Anthropic's limits for one request: 20 strict tools, 24 optional parameters, and 16 parameters with a union type
  (`anyOf`, or a list as `type`), over all strict tools and `response_format` together. `response_format` counts
  first, then the tools in their order. Schemas beyond the limits are sent without a grammar.
- The API may answer that the compiled grammar is too large, or that a schema is too complex. Then the request is sent
  once more, without any grammar. Later requests with the same schemas are sent without it at once.
- These schemas are also sent without a grammar: schemas that refer to themselves, objects whose property names are not
  fixed, schemas that accept any value (`{}`), and literals that are objects or lists.
- Keywords that Anthropic's grammar lacks (`minimum`, `pattern`, `examples` …) are written into the description.

If an instruction asked for JSON (`json_object`, and schemas without a grammar), the JSON is checked before the answer
is sent. If it does not follow the format, Claude is asked once more; the usage is that of both tries. If that does not
help, the answer has the header `x-understudy-format: not followed`. An agent is not asked again, and neither is a
request with MCP servers, because their calls have effects; the answer has the header at once. A stream has been sent by
then, and so has a background response. For these, only the proxy's log says so, with the rule of the schema that is
broken. The check has limits: a schema of more than 1 MiB is not checked, and a check that takes too long is given up.

Anthropic accepts only property names that match `^[a-zA-Z0-9_.-]{1,64}$`. Other names in a tool's schema (`filter[id]`,
`$.x`, names that are not ASCII or too long) are replaced before the request goes to Claude: in the schema and in the
calls of the history. In the calls of the answer, also in streams, the app gets its own names back. A name always gets
the same replacement. A recording has the app's names.
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
