"""`understudy conform`: does a server answer as the real OpenAI API does?"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from cassettes.format import Entry
from cassettes.read import read
from cassettes.show.safe import one_line
from cli.options import AsJson
from cli.tables import print_table
from conform.ask import Server, UnreachableError
from conform.ask import conform as ask_all
from conform.document import document
from conform.exchange import Exchange, Finding
from conform.plan import GROUPS, plan
from conform.report import as_json, as_table, summary, tables
from conform.wire import Wire, wire

FINE, DIFFERENT, WRONG = 0, 1, 2
"""Exit statuses: no findings; findings; a mistake, or the server does not answer."""

DIALECTS = {"chat/completions": "chat", "completions": "completions", "responses": "responses"}


def conform(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The server's base URL. /v1 is added to one without a path.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="OPENAI_API_KEY", help="The API key to send.", show_envvar=True),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="The model to ask.")] = "gpt-4o-mini",
    only: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=f"Ask only for some of {', '.join(GROUPS)}, with commas between."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=600, help="How long one answer may take.")
    ] = 60,
    learn: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CASSETTE",
            help="Add your own recordings of the real API to what is known of it. Without URL: print what is known.",
        ),
    ] = None,
    as_json_: AsJson = False,
) -> None:
    """Check whether a server answers as OpenAI's API does. Exit status 1: there are differences."""
    groups = _groups(only)
    known = _learned(learn or [])
    if url is None:
        if not learn:
            raise _wrong("name a server: understudy conform http://127.0.0.1:8000/v1")
        print(as_table(known))
        return
    server = Server(base_url=_base_url(url), api_key=api_key or "sk-none", model=model, timeout_s=timeout)
    try:
        verdict = ask_all(server, plan(model, groups), document(), known, _tell)
    except UnreachableError as error:
        raise _wrong(str(error)) from None
    if as_json_:
        print(as_json(verdict, server, document(), known))
    else:
        for table in tables(verdict, one_line):
            print_table(table)
        print(one_line(summary(verdict, document(), known)))
    raise typer.Exit(DIFFERENT if verdict.count else FINE)


def recorded_exchanges(path: Path) -> Iterator[Exchange]:
    """Yield the exchanges of a cassette that an endpoint of OpenAI's has answered completely.

    Raises ValueError if a part of the cassette cannot be read.
    """
    for entry in read(path):
        if not isinstance(entry, Entry):
            raise ValueError(str(entry))  # noqa: TRY004 (it is a file that is wrong)
        name = entry.request.path.partition("?")[0].rstrip("/").removeprefix("/v1/")
        # What has a turn was answered by Claude.
        if entry.turn is not None or entry.how != "done" or name not in DIALECTS or entry.request.method != "POST":
            continue
        yield Exchange(
            name=entry.id,
            dialect=DIALECTS[name],  # type: ignore[arg-type]
            path=entry.request.path,
            request=entry.request.json,
            status=entry.status or 0,
            headers={key.lower(): value for key, value in entry.headers.items() if isinstance(value, str)},
            text=entry.body.decode("utf-8", "replace"),
            date=entry.started[:10],
        )


def _learned(paths: Sequence[Path]) -> Wire:
    """Return the known keys, together with those of a person's own recordings."""
    if not paths:
        return wire()
    known = Wire(wire().table)
    for path in paths:
        try:
            exchanges = list(recorded_exchanges(path))
        except ValueError as error:
            raise _wrong(str(error)) from None
        if not exchanges:
            raise _wrong(f"{path} has no complete exchange that OpenAI has answered")
        for exchange in exchanges:
            known.learn(exchange, document())
    return known


def _groups(only: str | None) -> list[str]:
    chosen = [name.strip() for name in (only or "").split(",") if name.strip()] or list(GROUPS)
    for name in chosen:
        if name not in GROUPS:
            raise _wrong(f"--only does not know {name}. It knows {', '.join(GROUPS)}.")
    return chosen


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(f"{url} is no URL of a server, such as http://127.0.0.1:8000/v1")
    return url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


def _tell(name: str, found: list[Finding]) -> None:
    """Show on a terminal that something happens."""
    if sys.stderr.isatty():
        typer.echo(f"{name}: {len(found) or 'no'} finding{'' if len(found) == 1 else 's'}", err=True)


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"understudy: {one_line(message)}", err=True)
    return typer.Exit(WRONG)
