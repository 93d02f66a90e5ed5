"""The commands `understudy show` and `understudy diff`."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cassettes.show import diff as comparing
from cassettes.show import listing
from cassettes.show import show as showing
from cassettes.show.cassette import LookError, load, open_cassette
from cassettes.show.listing import Choice
from cassettes.show.safe import one_line, safe_json
from cassettes.show.show import Line
from cassettes.show.story import story
from cassettes.show.timeline import timeline
from cli.options import AsJson, CassetteFile

FINE, DIFFERENT, WRONG = 0, 1, 2
"""Exit statuses. 0: shown, or no difference. 1: something differs. 2: a usage error, or there is nothing to show."""

# Let a negative number through: it is the number of an exchange, not an option.
NUMBERS = {"ignore_unknown_options": True}
NEGATIVE = re.compile(r"-\d+")


def show(
    context: typer.Context,
    file: CassetteFile,
    which: Annotated[
        str | None,
        typer.Argument(metavar="N|ID", help="Show this exchange: its number in the list (-1: the last), or its id."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List only exchanges that failed, broke off, or were cut off by the app.")
    ] = False,
    grep: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="List only exchanges whose question or answer matches this regular expression, in any letter case.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="List only exchanges whose requested or answering model matches: opus, 'gpt-4*'."
        ),
    ] = None,
    slow: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="List only exchanges that took at least this long.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the exchanges of a cassette (recorded traffic), or show one exchange as a conversation."""
    _refuse_options(context, (str(file), which))
    with _screen() as screen:
        choice = Choice(failed, _pattern(grep), model, None if slow is None else slow * 1000)
        cassette = open_cassette(file)
        if which is None:
            if as_json:
                screen.json(listing.list_json(cassette, choice))
            else:
                screen.lines((0, line) for line in listing.list_lines(cassette, choice, screen.width))
            return
        if not choice.is_all:
            raise LookError(
                f"{one_line(which)} selects one exchange: --failed, --grep, --model and --slow only work without it"
            )
        row = cassette.find(which)
        entry, problems = load(row)
        told = story(entry)
        measured = timeline(entry, told.tokens.output)
        if as_json:
            screen.json(showing.story_json(row, told, measured, problems))
        else:
            screen.lines(showing.story_lines(row, len(cassette.rows), told, measured, problems))


def diff(
    a: Annotated[str, typer.Argument(metavar="A[:N]", help="A cassette, or one exchange of it.")],
    b: Annotated[str, typer.Argument(metavar="B[:N]", help="The cassette or exchange to compare it with.")],
    timing: Annotated[bool, typer.Option("--timing", help="Count different times as a difference too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two exchanges, or two cassettes exchange by exchange. Exit status 1: they differ."""
    found = []
    with _screen() as screen:
        is_one_of_many = comparing.parse(a)[1] is None
        if not as_json:
            screen.lines([(0, comparing.legend(a, b))])
        for one in comparing.compare(a, b, with_timing=timing):
            found.append(one)
            screen.status = DIFFERENT if one.differs else screen.status
            if as_json:
                continue
            if isinstance(one, comparing.Extra):
                screen.lines([(0, comparing.extra_line(one))])
            else:
                screen.lines(comparing.pair_lines(one, is_one_of_many=is_one_of_many))
        if as_json:
            screen.json(comparing.as_json(a, b, found))
        elif is_one_of_many:
            screen.lines([(0, Text(comparing.counted(found)))])


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    """Compile the pattern of ``--grep``. Raises LookError if it is not a regular expression."""
    try:
        return None if grep is None else re.compile(grep, re.IGNORECASE)
    except re.error as error:
        raise LookError(f"--grep {one_line(grep)}: {one_line(error)}") from None


def _refuse_options(context: typer.Context, words: Iterable[str | None]) -> None:
    """Raise UnknownOptionError for arguments that look like options.

    The parser lets all unknown options through, because -1 is an argument here.
    """
    for word in words:
        if word is not None and word.startswith("-") and word != "-" and not NEGATIVE.fullmatch(word):
            option = word.partition("=")[0]
            known = [name for param in context.command.params for name in param.opts if name.startswith("-")]
            raise UnknownOptionError(option, get_close_matches(option, known), context)


class UnknownOptionError(typer.TyperException):
    """There is no such option. It has the same attributes as typer's own error of this kind."""

    exit_code = 2

    def __init__(self, option: str, possibilities: list[str], context: typer.Context) -> None:
        super().__init__(f"No such option: {one_line(option)}")
        self.option_name = option
        self.possibilities = possibilities
        self.ctx = context


class _Screen:
    """Where the output goes. On a terminal, wrapped lines keep their indent. In a file, lines are not wrapped."""

    def __init__(self) -> None:
        self.status = FINE
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal can show every character
        self._console = _Console(markup=False, highlight=False, emoji=False)
        self.width = self._console.width if self._console.is_terminal else None

    def lines(self, lines: Iterable[Line]) -> None:
        """Write lines, given as (indent, text). Control characters must already be removed from the texts."""
        for indent, line in lines:
            if self.width is None:
                prefix = " " * indent
                self._write("\n".join(f"{prefix}{part}".rstrip(" ") for part in line.plain.split("\n")))
            elif indent:
                self._console.print(Padding(line, (0, 0, 0, indent)))
            else:
                self._console.print(line, soft_wrap=True)

    def json(self, value: Any) -> None:
        """Write JSON."""
        self._write(safe_json(value))

    def _write(self, text: str) -> None:
        try:
            print(text)
        except BrokenPipeError:
            leave()

    def end(self) -> None:
        """Flush the output. Raises OSError."""
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            leave()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        leave()


def leave() -> None:
    """Discard all further output when the reader has closed the pipe: `understudy show FILE | head`."""
    # Otherwise the interpreter would flush stdout at its end, and print an error about the closed pipe.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def _screen() -> Iterator[_Screen]:
    """Run a command's output. An error becomes one line on stderr and exit status 2."""
    screen = _Screen()
    try:
        yield screen
        screen.end()
    except LookError as error:
        raise _fatal(str(error)) from None
    except RecursionError:
        raise _fatal("the exchange is nested too deeply to be shown") from None
    except OSError as error:
        raise _fatal(f"the output cannot be written: {error.strerror or error}") from None
    raise typer.Exit(screen.status)


def _fatal(message: str) -> typer.Exit:
    with contextlib.suppress(OSError):
        typer.echo(f"understudy: {message}", err=True)
    return typer.Exit(WRONG)
