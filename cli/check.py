"""The commands that do something once more with a cassette: retranslate, reassemble, again, check, fixture."""

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
"""Exit statuses: done, or all is the same; something differs; a mistake."""

Which = Annotated[str | None, typer.Argument(metavar="N|ID", help="One exchange, as `understudy show` lists them.")]
Model = Annotated[str | None, typer.Option(help="Ask for this model instead.")]
Change = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=JSON", help="Another value for a parameter.")]


def retranslate(file: CassetteFile, which: Which = None) -> None:
    """Translate Claude's recorded events again. Ends with 1 if an app would get another answer."""
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
    """Rebuild the recorded bytes of answers whose messages you edited by hand."""
    with _told():
        open_cassette(file)
        done, problems = rewrite(file)
    for problem in problems:
        typer.echo(f"understudy: {one_line(problem)}", err=True)
    for id in done:
        print(one_line(f"{id}: made anew"))
    print(f"{len(done)} made anew")


@with_settings("rehearsal")
def again(
    given: Given,
    file: CassetteFile,
    which: Which = None,
    model: Model = None,
    change: Change = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record here instead of beside the old answers.")
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
    """Send recorded requests to Claude again. Ends with 1 if an answer has another shape than before."""
    with _told():
        settings = _live(load_for(given.config, **given.flags), record=None)
        answers = asyncio.run(_ask_all(_entries(file, which), settings, {}))
        changed = 0
        for n, entry, answer in answers:
            lines = drift(entry, answer)
            changed += bool(lines)
            print(one_line(f"{n} {entry.id}: {'changed' if lines else 'the same shape'}"))
            for line in lines:
                print(f"    {safe(line)}")
    print(f"{changed} of {len(answers)} have changed")
    raise typer.Exit(DIFFERENT if changed else FINE)


def fixture(
    file: CassetteFile,
    which: Annotated[str, typer.Argument(metavar="N|ID", help="The exchange.")],
    into: Annotated[Path, typer.Option(metavar="FILE", help="The cassette to make. It must not exist yet.")],
) -> None:
    """Copy one exchange into a cassette of its own, as a test for `understudy retranslate`."""
    with _told():
        row = open_cassette(file).find(which)
        write_fixture(row.file, row.summary, into)
    print(one_line(f"{into}: {row.summary.id}"))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say what goes wrong in one line."""
    try:
        yield
    except (LookError, FixtureError) as error:
        raise _wrong(str(error)) from None
    except httpx.HTTPError as error:
        raise _wrong(f"the proxy did not answer: {error}") from None
    except BrokenPipeError:
        raise  # whoever reads has read enough, and is told nothing more
    except (OSError, ValueError) as error:
        raise _wrong(str(error)) from None


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"understudy: {one_line(message)}", err=True)
    return typer.Exit(WRONG)


def _entries(file: Path, which: str | None) -> Iterator[tuple[int, Entry]]:
    """Yield the exchanges of a cassette with their numbers, one at a time. Raises LookError."""
    cassette = open_cassette(file)
    for row in [cassette.find(which)] if which else cassette.rows:
        entry, problems = load(row)
        for problem in problems:
            typer.echo(f"understudy: {one_line(problem)}", err=True)
        yield row.n, entry


def _changes(model: str | None, given: list[str] | None) -> dict[str, Any]:
    """Read ``--set``. Raises ValueError."""
    changes: dict[str, Any] = {} if model is None else {"model": model}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--set wants NAME=JSON, not {text}")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def _live(settings: Settings, record: Path | None) -> Settings:
    """Return the settings of a proxy that is asked by nobody but us."""
    return dataclasses.replace(
        settings, listen=("127.0.0.1", 0), base_url=None, client_auth=False, replay=None, record=record
    )


async def _ask_all(
    entries: Iterator[tuple[int, Entry]], settings: Settings, changes: dict[str, Any]
) -> list[tuple[int, Entry, Answered]]:
    # Imported here, because most of these commands only read a cassette.
    from cli.building import own_proxy

    # All of them first: what is recorded meanwhile is not asked again.
    chosen = list(entries)
    numbers = [n for n, _ in chosen]
    async with own_proxy(settings) as (url, authority):
        answers = ask([entry for _, entry in chosen], proxy=url, authority=authority, changes=changes)
        told = [(entry, answer) async for entry, answer in answers]
    return [(n, entry, answer) for n, (entry, answer) in zip(numbers, told, strict=True)]


def drift(entry: Entry, answer: Answered) -> list[str]:
    """Return how an answer differs in shape from the recorded one; nothing if it does not."""
    old = {"status": entry.status, "answer": shape(entry.message)}
    new = {"status": answer.status, "answer": shape(answer.message)}
    if old == new:
        return []
    before, now = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (old, new))
    return list(difflib.unified_diff(before, now, "recorded", "now", lineterm="", n=1))
