"""The line on the terminal while `understudy run` starts."""

import io
import logging
import subprocess
import sys

import pytest

from cli import sign_of_life as module
from cli.sign_of_life import LINE, SignOfLife, is_wanted, keep_below_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_is_shown_once_and_erased_once() -> None:
    terminal = Terminal()
    sign = SignOfLife(terminal)

    sign.show()
    sign.show()
    shown = terminal.getvalue()
    sign.erase()
    sign.erase()

    assert shown == f"\r{LINE}"
    assert terminal.getvalue() == f"\r{LINE}\r{' ' * len(LINE)}\r"


def test_a_line_that_was_not_shown_is_not_erased() -> None:
    terminal = Terminal()

    SignOfLife(terminal).erase()

    assert terminal.getvalue() == ""


def test_the_line_stays_below_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    sign = SignOfLife(terminal)
    monkeypatch.setattr(module, "sign_of_life", sign)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(terminal)])
    keep_below_log()
    log = logging.getLogger("understudy")

    sign.show()
    log.warning("first")
    sign.erase()
    log.warning("second")

    blank = f"\r{' ' * len(LINE)}\r"
    assert terminal.getvalue() == f"\r{LINE}{blank}first\n\r{LINE}{blank}second\n"


def test_without_a_terminal_nothing_is_written() -> None:
    pipe = io.StringIO()
    sign = SignOfLife(pipe)

    sign.show()
    sign.erase()

    assert pipe.getvalue() == ""


def test_a_terminal_that_was_closed_is_no_error() -> None:
    class Closed(Terminal):
        def write(self, text: str) -> int:
            raise OSError("Input/output error")

    SignOfLife(Closed()).show()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run", "--", "python"], True),
        (["run", "--rehearsal", "python", "app.py"], True),
        (["run", "--", "program", "--quiet"], True),
        (["run", "--quiet", "--", "python"], False),
        (["run", "-h"], False),
        (["run", "--help"], False),
        (["serve"], False),
        ([], False),
    ],
)
def test_which_command_lines_have_it(arguments: list[str], wanted: bool) -> None:
    assert is_wanted(arguments) is wanted


def test_the_line_is_shown_before_slow_imports() -> None:
    code = """
import sys, cli.sign_of_life, understudy.__main__
print('mitmproxy' in sys.modules, 'rich' in sys.modules, 'typer' in sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False False False\n"
