"""`understudy convert IN OUT`: converts cassettes to other formats, and other formats to cassettes."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from cassettes.convert.evaluation import to_lines
from cassettes.convert.exchange import ConvertError, Exchange, write
from cassettes.convert.flows import from_flows, to_flows
from cassettes.convert.har import from_har, to_har
from cassettes.convert.vcr import from_vcr
from cassettes.format import Entry
from cassettes.record.record import CassetteError
from cassettes.record.replacing import put_in_place
from cassettes.show.cassette import Cassette, LookError, load, open_cassette
from cassettes.show.safe import one_line

FLOWS = (".flow", ".flows", ".mitm")
SUFFIXES = {".har": "har", **dict.fromkeys(FLOWS, "flows"), ".yaml": "vcr", ".yml": "vcr", ".jsonl": "cassette"}

READ: dict[str, Callable[[Path], Iterator[Exchange]]] = {"har": from_har, "flows": from_flows, "vcr": from_vcr}


def add_convert_command(cli: typer.Typer) -> None:
    """Add the command."""

    @cli.command()
    def convert(
        source: Annotated[Path, typer.Argument(metavar="IN", help="The file to convert: .jsonl, .har, .flow, .yaml.")],
        target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .jsonl, .har, .flow.")],
        kind: Annotated[
            str | None,
            typer.Option("--format", help="The format of OUT: har, flows, openai-jsonl. Default: by the suffix."),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Overwrite OUT if it exists.")] = False,
    ) -> None:
        """Convert a cassette to HAR, mitmproxy flows or JSON lines. Or make one of HAR, flows or vcrpy YAML."""
        try:
            done = _convert(source, target, kind, force=force)
        except (ConvertError, LookError, CassetteError) as error:
            raise _wrong(str(error)) from None
        except OSError as error:
            raise _wrong(f"{error.filename or source}: {error.strerror or error}") from None
        print(one_line(done))


def _convert(source: Path, target: Path, kind: str | None, *, force: bool) -> str:
    if target.exists() and not force:
        raise ConvertError(f"{target} already exists (--force overwrites it)")
    have = "cassette" if source.is_dir() else SUFFIXES.get(source.suffix.lower())
    want = kind or SUFFIXES.get(target.suffix.lower())
    if have is None:
        raise ConvertError(f"{source}: its suffix must be one of {', '.join(SUFFIXES)}")
    if have != "cassette":
        if want != "cassette":
            raise ConvertError(f"{source} can only be converted to a cassette (.jsonl)")
        return _into_cassette(READ[have](source), source, target)
    if want not in WRITE:
        raise ConvertError(f"{target}: its suffix must be .har or .flow; or use --format openai-jsonl")
    cassette = open_cassette(source)
    with _beside(target) as new:
        return WRITE[want](_entries(cassette), new)


def _har(entries: Iterator[Entry], new: Path) -> str:
    counted = _Counted(entries)
    new.write_text(to_har(counted), encoding="utf-8")
    return f"{counted.count} exchanges"


def _flows(entries: Iterator[Entry], new: Path) -> str:
    # A flow must have a start time. Some exchanges have none; they are left out.
    counted = _Counted(entry for entry in entries if entry.started)
    to_flows(counted, new)
    return f"{counted.count} exchanges"


class _Counted:
    """Counts the items that are taken from an iterator."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            self.count += 1
            yield entry


def _lines(entries: Iterator[Entry], new: Path) -> str:
    lines = list(to_lines(entries))
    new.write_text("".join(line for line in lines if line), encoding="utf-8")
    return f"{sum(line is not None for line in lines)} lines, {lines.count(None)} exchanges left out"


WRITE: dict[str, Callable[[Iterator[Entry], Path], str]] = {"har": _har, "flows": _flows, "openai-jsonl": _lines}


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield a temporary file. It replaces ``target`` when the block succeeds, and is deleted when it fails."""
    if target.exists() and not target.is_file():
        yield target  # a pipe or a terminal cannot be replaced: write to it directly
        return
    if not target.absolute().parent.is_dir():
        raise ConvertError(f"there is no folder {target.parent}")
    place = target.resolve()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".understudy-") as folder:
        new = Path(folder) / place.name
        yield new
        new.replace(place)


def _into_cassette(exchanges: Iterator[Exchange], source: Path, target: Path) -> str:
    """Write a cassette and return what was written. It replaces ``target`` only when all could be read."""
    if target.suffix != ".jsonl":
        raise ConvertError(f"{target} must end in .jsonl")
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        new = Path(folder) / target.name
        count, left_out = write(exchanges, new)
        put_in_place(new, target)
    missing = f"; {left_out} without the answer's body, which {source} lacks: a replay fails there" if left_out else ""
    return f"{count} exchanges{missing}"


def _entries(cassette: Cassette) -> Iterator[Entry]:
    for row in cassette.rows:
        entry, problems = load(row)
        for problem in problems:
            typer.echo(f"understudy: {one_line(problem)}", err=True)
        yield entry


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"understudy: {one_line(message)}", err=True)
    return typer.Exit(2)
