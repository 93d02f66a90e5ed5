"""`understudy convert IN OUT`: cassettes into other formats, and other formats into cassettes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from convert.evaluation import to_lines
from convert.exchange import ConvertError, Exchange, write
from convert.flows import from_flows, to_flows
from convert.har import from_har, to_har
from convert.vcr import from_vcr
from looking.cassette import LookError, load, open_cassette
from looking.safe import one_line
from tape.files import parts
from tape.format import Entry
from tape.record import TapeError

FLOWS = (".flow", ".flows", ".mitm")
SUFFIXES = {".har": "har", **dict.fromkeys(FLOWS, "flows"), ".yaml": "vcr", ".yml": "vcr", ".jsonl": "cassette"}

READ: dict[str, Callable[[Path], Iterator[Exchange]]] = {"har": from_har, "flows": from_flows, "vcr": from_vcr}


def add_convert_command(cli: typer.Typer) -> None:
    """Add the command."""

    @cli.command()
    def convert(
        source: Annotated[Path, typer.Argument(metavar="IN")],
        target: Annotated[Path, typer.Argument(metavar="OUT")],
        kind: Annotated[
            str | None, typer.Option("--format", help="OUT's: har, flows, openai-jsonl; else by its suffix.")
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    ) -> None:
        """Convert a cassette to HAR, mitmproxy's flows or lines for evaluations; or HAR, flows, vcrpy's YAML to one."""
        try:
            done = _convert(source, target, kind, force=force)
        except (ConvertError, LookError, TapeError) as error:
            raise _wrong(str(error)) from None
        except OSError as error:
            raise _wrong(f"{error.filename or source}: {error.strerror or error}") from None
        print(one_line(done))


def _convert(source: Path, target: Path, kind: str | None, *, force: bool) -> str:
    if target.exists() and not force:
        raise ConvertError(f"{target} is there already (--force writes over it)")
    have = "cassette" if source.is_dir() else SUFFIXES.get(source.suffix.lower())
    want = kind or SUFFIXES.get(target.suffix.lower())
    if have is None:
        raise ConvertError(f"{source}: its suffix is none of {', '.join(SUFFIXES)}")
    if have != "cassette":
        if want != "cassette":
            raise ConvertError(f"{source} can be converted to a cassette (.jsonl) alone")
        for _ in READ[have](source):
            pass  # a file that cannot be read costs nothing that is there
        for file in parts(target):
            file.unlink()
        return f"{write(READ[have](source), target)} exchanges"
    if want == "har":
        target.write_text(to_har(_entries(source)), encoding="utf-8")
    elif want == "flows":
        to_flows((entry for entry in _entries(source) if entry.started), target)
    elif want == "openai-jsonl":
        lines = list(to_lines(_entries(source)))
        target.write_text("".join(line for line in lines if line), encoding="utf-8")
        return f"{sum(line is not None for line in lines)} lines, {lines.count(None)} exchanges left out"
    else:
        raise ConvertError(f"{target}: its suffix is none of .har and .flow; or --format openai-jsonl")
    return f"{len(open_cassette(source).rows)} exchanges"


def _entries(path: Path) -> Iterator[Entry]:
    for row in open_cassette(path).rows:
        entry, problems = load(row)
        for problem in problems:
            typer.echo(f"understudy: {one_line(problem)}", err=True)
        yield entry


def _wrong(message: str) -> typer.Exit:
    typer.echo(f"understudy: {one_line(message)}", err=True)
    return typer.Exit(2)
