"""The commands that process a cassette again: retranslate, reassemble, again, check, fixture."""

import asyncio
import contextlib
import dataclasses
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cassettes.check.fixture import FixtureError, write_fixture
from cassettes.check.live import Answered, ask, shape
from cassettes.check.reassemble import rewrite
from cassettes.check.retranslate import Retranslator
from cassettes.format import Entry
from cassettes.show.cassette import LookError, load, open_cassette
from cassettes.show.safe import one_line, safe
from cli.load import load_for
from cli.options import CassetteFile, Given, with_settings
from settings import Settings

FINE, DIFFERENT, WRONG = 0, 1, 2
"""Exit statuses. 0: done, or no difference. 1: something differs. 2: a usage error."""

Which = Annotated[
    str | None,
    typer.Argument(metavar="N|ID", help="Only this exchange: its number in `understudy show FILE`, or its id."),
]
Model = Annotated[str | None, typer.Option(help="Ask for this model instead.")]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=JSON", help="Set a parameter of the requests to this value. Can be repeated."),
]


def retranslate(file: CassetteFile, which: Which = None) -> None:
    """Translate Claude's recorded events again. Exit status 1: an app would get a different answer."""
    counts = {"same": 0, "differs": 0, "skipped": 0}
    retranslator = Retranslator()
    with _told():
        for n, entry in _entries(file, which):
            verdict = retranslator.check(entry)
            counts[verdict.how] += 1
            if verdict.how != "same" or verdict.why:
                print(one_line(f"{n} {entry.id}: {verdict.how}{f': {verdict.why}' if verdict.why else ''}"))
            for line in verdict.lines:
                print(f"    {safe(line)}")
    print(", ".join(f"{count} {how}" for how, count in counts.items()))
    raise typer.Exit(DIFFERENT if counts["differs"] else FINE)


def reassemble(file: CassetteFile) -> None:
    """Rebuild the recorded bytes of each answer whose message you edited by hand."""
    with _told():
        open_cassette(file)
        done, problems = rewrite(file)
    for problem in problems:
        typer.echo(f"understudy: {one_line(problem)}", err=True)
    for id in done:
        print(one_line(f"{id}: rebuilt"))
    print(f"{len(done)} rebuilt")


@with_settings("rehearsal")
def again(
    given: Given,
    file: CassetteFile,
    which: Which = None,
    model: Model = None,
    change: Change = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record the new answers into this cassette, not into FILE.")
    ] = None,
) -> None:
    """Send recorded requests to Claude again, and record the new answers."""
    with _told():
        changes = _changes(model, change)
        settings = _live(load_for(given.config, **given.flags), record=into or file)
        for n, entry, answer in asyncio.run(_ask_all(_entries(file, which), settings, changes)):
            print(one_line(f"{n} {entry.id}: {entry.status} → {answer.status}"))


@with_settings("rehearsal")
def check(given: Given, file: CassetteFile, which: Which = None) -> None:
    """Send recorded requests to Claude again. Exit status 1: an answer has a different structure now."""
    with _told():
        settings = _live(load_for(given.config, **given.flags), record=None)
        answers = asyncio.run(_ask_all(_entries(file, which), settings, {}))
        changed = 0
        for n, entry, answer in answers:
            lines = drift(entry, answer)
            changed += bool(lines)
            print(one_line(f"{n} {entry.id}: {'changed' if lines else 'the same structure'}"))
            for line in lines:
                print(f"    {safe(line)}")
    print(f"{changed} of {len(answers)} have changed")
    raise typer.Exit(DIFFERENT if changed else FINE)


def fixture(
    file: CassetteFile,
    which: Annotated[str, typer.Argument(metavar="N|ID", help="The exchange: its number or its id.")],
    into: Annotated[Path, typer.Option(metavar="FILE", help="The new cassette. It must not exist yet.")],
) -> None:
    """Copy one exchange into a new cassette, as a test for `understudy retranslate`."""
    with _told():
        row = open_cassette(file).find(which)
        write_fixture(row.file, row.summary, into)
    print(one_line(f"{into}: {row.summary.id}"))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn an error into one line on stderr and an exit status."""
    try:
        yield
    except (LookError, FixtureError) as error:
        raise _wrong(str(error)) from None
    except httpx.HTTPError as error:
        raise _wrong(f"the proxy did not answer: {error}") from None
    except BrokenPipeError:
        raise  # the reader of the pipe has closed it: print no error
    except (OSError, ValueError) as error:
        raise _wrong(str(error)) from None


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"understudy: {one_line(message)}", err=True)
    return typer.Exit(WRONG)


def _entries(file: Path, which: str | None) -> Iterator[tuple[int, Entry]]:
    """Yield (number, exchange) for each exchange of a cassette. Raises LookError."""
    cassette = open_cassette(file)
    for row in [cassette.find(which)] if which else cassette.rows:
        entry, problems = load(row)
        for problem in problems:
            typer.echo(f"understudy: {one_line(problem)}", err=True)
        yield row.n, entry


def _changes(model: str | None, given: list[str] | None) -> dict[str, Any]:
    """Return the changes to a request's parameters, from ``--model`` and ``--set``. Raises ValueError."""
    changes: dict[str, Any] = {} if model is None else {"model": model}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--set needs NAME=JSON, not {text}")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def _live(settings: Settings, record: Path | None) -> Settings:
    """Return the settings of a proxy that only this command uses."""
    return dataclasses.replace(
        settings, listen=("127.0.0.1", 0), base_url=None, client_auth=False, replay=None, record=record
    )


async def _ask_all(
    entries: Iterator[tuple[int, Entry]], settings: Settings, changes: dict[str, Any]
) -> list[tuple[int, Entry, Answered]]:
    # Imported here: most of these commands only read a cassette and do not need the proxy.
    from cli.building import own_proxy

    # Read all exchanges first. The new recordings may go into the same cassette, and must not be sent again.
    chosen = list(entries)
    numbers = [n for n, _ in chosen]
    async with own_proxy(settings) as (url, authority):
        answers = ask([entry for _, entry in chosen], proxy=url, authority=authority, changes=changes)
        told = [(entry, answer) async for entry, answer in answers]
    return [(n, entry, answer) for n, (entry, answer) in zip(numbers, told, strict=True)]


def drift(entry: Entry, answer: Answered) -> list[str]:
    """Return a diff between the structure of an answer and of the recorded one. It is empty if they are the same."""
    old = {"status": entry.status, "answer": shape(entry.message)}
    new = {"status": answer.status, "answer": shape(answer.message)}
    if old == new:
        return []
    before, now = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (old, new))
    return list(difflib.unified_diff(before, now, "recorded", "now", lineterm="", n=1))
