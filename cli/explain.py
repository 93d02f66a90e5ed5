"""`understudy explain FILE`: shows how each key of a request is handled, and what Claude would be asked."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from api.sealing import Sealer, derived_key, sealing_key
from cassettes.show.safe import one_line, safe_json
from cli.fatal import fatal
from cli.load import load_settings
from cli.options import AsJson, Given, with_settings
from cli.tables import print_table
from settings import Settings
from translate.errors import OpenAIError
from translate.explain import PATHS, Explanation, Operator, endpoints, guess_endpoint
from translate.explain import explain as explained
from translate.model_table import row
from translate.request_body import decode_object
from translate.turn import ContentBlock, Turn, to_json

REFUSED = 1
"""The exit status if the request would be refused."""

STDIN = Path("-")

MOST_MESSAGES = 20
"""The largest number of messages that are shown. Of a longer conversation, the first and the last ones are shown."""
MOST_CHARACTERS = 300
"""The largest number of characters that are shown of a text."""


@with_settings("model_map", "default_model")
def explain(
    given: Given,
    request: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON body of a request. - means stdin.")],
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The endpoint: chat, responses or completions. Default: guessed from the keys of the body.",
            autocompletion=endpoints,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how each key of a request is handled, and what Claude would be asked. Nothing is sent.

    Each key is honoured, ignored or refused, and the table says how or why. Exit status 1: the request would be
    refused.
    """
    settings = load_settings(given.config, **given.flags).settings
    fields = _read(request)
    chosen = endpoint or guess_endpoint(fields)
    if chosen is None:
        raise fatal(f"the endpoint cannot be guessed from the body. Use --endpoint {', '.join(endpoints())}.")
    if chosen not in PATHS:
        raise fatal(f"--endpoint: {chosen!r} is not one of {', '.join(endpoints())}.")
    try:
        told = explained(chosen, fields, _operator(settings))
        if as_json:
            print(safe_json(_as_json(told)))
        else:
            _print(told)
    except RecursionError:
        raise fatal("the request is nested too deeply to be explained.") from None
    if told.error is not None:
        raise typer.Exit(REFUSED)


def _read(file: Path) -> dict[str, Any]:
    try:
        body = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise fatal(f"{file}: {error.strerror or error}") from None
    try:
        return decode_object(body)
    except OpenAIError:
        raise fatal(f"{'stdin' if file == STDIN else file}: this is not a JSON object.{_place(body)}") from None


def _place(body: bytes) -> str:
    """Return the place of the first error in the JSON. Return "" if the JSON is valid but not an object."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f" Line {error.lineno}, column {error.colno}: {error.msg}."
    except (ValueError, RecursionError):
        pass
    return ""


def _operator(settings: Settings) -> Operator:
    # A proxy makes this key when it needs it. This command only uses an existing key.
    kept = [sealing_key(settings.data_dir)] if (settings.data_dir / "reasoning.key").exists() else []
    sealer = Sealer(*map(derived_key, settings.store_key), *kept)
    return Operator(
        settings.full_model_map(),
        settings.default_model,
        show_reasoning=settings.show_reasoning,
        web_search=settings.web_search,
        open_reasoning=sealer.open_reasoning,
    )


def _as_json(told: Explanation) -> dict[str, Any]:
    error = told.error
    return {
        "endpoint": PATHS[told.endpoint],
        "model": told.asked_model,
        "claude_model": _claude_model(told),
        "keys": [{"path": one.path, "what": one.what, "how": one.how} for one in told.rows],
        "turns": [to_json(turn) for turn in told.turns],
        "notes": list(told.notes),
        "error": None if error is None else {"status": error.status, **json.loads(error.body())["error"]},
    }


def _claude_model(told: Explanation) -> str | None:
    return row(told.asked_model, told.model.model, "").resolved if told.model else None


def _print(told: Explanation) -> None:
    print(f"POST {PATHS[told.endpoint]}")
    if claude_model := _claude_model(told):
        print(f"model: {one_line(told.asked_model)} is answered by {one_line(claude_model)}")
    print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("key", "handling", "how, or why"):
        table.add_column(column, overflow="fold")
    for one in told.rows:
        table.add_row(*(escape(one_line(cell)) for cell in (one.path, one.what, one.how)))
    print_table(table)
    print()
    if told.error is not None:
        print(f"The app gets {told.error.status}: {one_line(told.error.message)}")
        return
    print("Claude is asked:" if len(told.turns) == 1 else f"Claude is asked {len(told.turns)} times, first:")
    for line in _asked(told.turns[0]):
        print(f"  {one_line(line)}")
    for note in told.notes:
        print(f"Note: {note}.")


def _asked(turn: Turn) -> Iterator[str]:
    """Yield the lines that describe a turn."""
    fields = to_json(turn)
    yield f"system: {_cut(turn.system)}" if turn.system else "system: (none)"
    left_out = len(turn.messages) - MOST_MESSAGES
    for index, message in enumerate(turn.messages):
        if left_out > 0 and index == MOST_MESSAGES // 2:
            yield f"({left_out} more messages)"
        if left_out > 0 and MOST_MESSAGES // 2 <= index < MOST_MESSAGES // 2 + left_out:
            continue
        for block in message.content:
            yield f"{message.role}: {_block(block)}"
    for tool in turn.tools:
        yield f"tool: {_cut(json.dumps(dict(tool), ensure_ascii=False))}"
    for name, value in fields.items():
        if name not in ("model", "messages", "system", "tools"):
            yield f"{name}: {_cut(json.dumps(value, ensure_ascii=False))}"


def _block(block: ContentBlock) -> str:
    source = block.get("source")
    if block["type"] == "text":
        return _cut(str(block["text"]))
    if isinstance(source, Mapping) and "data" in source:
        return f"({block['type']}, {source.get('media_type')}, {len(source['data'])} characters)"
    return _cut(json.dumps(dict(block), ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text)} characters)"
