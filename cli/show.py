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
"""Exit statuses: it was shown, or all is the same; something differs; a mistake, or nothing to look at."""

# A negative number is no option.
NUMBERS = {"ignore_unknown_options": True}
NEGATIVE = re.compile(r"-\d+")


def show(
    context: typer.Context,
    file: CassetteFile,
    which: Annotated[
        str | None,
        typer.Argument(metavar="N|ID", help="One exchange: its number as listed (-1 is the last), or its id."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List only what failed, broke off or was cut by its app.")
    ] = False,
    grep: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="List only where question or answer have this, in any case."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="List only what was asked of, or answered by, such a model: opus, 'gpt-4*'."),
    ] = None,
    slow: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="List only what took so long or longer.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List a cassette's exchanges, or show one like a conversation."""
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
                f"{one_line(which)} names one exchange; --failed, --grep, --model and --slow choose from all"
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
    b: Annotated[str, typer.Argument(metavar="B[:N]", help="What it is compared with.")],
    timing: Annotated[bool, typer.Option("--timing", help="Other times count as a difference too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two exchanges, or two cassettes exchange by exchange. Ends with 1 if they differ."""
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
    """Read a pattern. Raises LookError."""
    try:
        return None if grep is None else re.compile(grep, re.IGNORECASE)
    except re.error as error:
        raise LookError(f"--grep {one_line(grep)}: {one_line(error)}") from None


def _refuse_options(context: typer.Context, words: Iterable[str | None]) -> None:
    """Raise UnknownOptionError for words that look like options: so that -1 is a word, all of them are let through."""
    for word in words:
        if word is not None and word.startswith("-") and word != "-" and not NEGATIVE.fullmatch(word):
            option = word.partition("=")[0]
            known = [name for param in context.command.params for name in param.opts if name.startswith("-")]
            raise UnknownOptionError(option, get_close_matches(option, known), context)


class UnknownOptionError(typer.TyperException):
    """There is no such option; it has what typer's own error of that kind has."""

    exit_code = 2

    def __init__(self, option: str, possibilities: list[str], context: typer.Context) -> None:
        super().__init__(f"No such option: {one_line(option)}")
        self.option_name = option
        self.possibilities = possibilities
        self.ctx = context


class _Screen:
    """Where the answer goes: a terminal, whose lines are folded with their indent, or a file, whose lines are not."""

    def __init__(self) -> None:
        self.status = FINE
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has every alphabet
        self._console = _Console(markup=False, highlight=False, emoji=False)
        self.width = self._console.width if self._console.is_terminal else None

    def lines(self, lines: Iterable[Line]) -> None:
        """Write lines, each with how far it is indented. Texts must be safe already."""
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
        """Write what is not written yet. Raises OSError."""
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            leave()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        leave()


def leave() -> None:
    """Go on silently when whoever reads has read enough: `understudy show FILE | head`."""
    # Else the interpreter would try to write what is left when it ends, and say that it could not.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def _screen() -> Iterator[_Screen]:
    """Run a command; what goes wrong is one line and status 2."""
    screen = _Screen()
    try:
        yield screen
        screen.end()
    except LookError as error:
        raise _fatal(str(error)) from None
    except RecursionError:
        raise _fatal("it is nested too deeply to be shown") from None
    except OSError as error:
        raise _fatal(f"it cannot be written: {error.strerror or error}") from None
    raise typer.Exit(screen.status)


def _fatal(message: str) -> typer.Exit:
    with contextlib.suppress(OSError):
        typer.echo(f"understudy: {message}", err=True)
    return typer.Exit(WRONG)
