"""Shows a line on the terminal while `understudy run` starts, and erases it before the program prints anything.

The line is shown before most of Understudy is imported: the import takes half of the start. So this module imports only
the standard library. Nothing is written if stderr is not a terminal.
"""

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import TextIO

LINE = "understudy: starting ..."


class SignOfLife:
    """The line. It is shown at once, and erased for good when the start has succeeded or failed.

    Log lines during the start appear above it: :meth:`make_room` runs before each of them, :meth:`come_back` after it.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_wanted = False
        self._is_shown = False

    def show(self) -> None:
        """Write the line, if the stream is a terminal."""
        self._is_wanted = self._stream is not None and self._stream.isatty()
        self.come_back()

    def erase(self) -> None:
        """Erase the line for good."""
        self._is_wanted = False
        self.make_room()

    def make_room(self) -> None:
        """Erase the line for a moment. It is overwritten with blanks: not every console knows the escape sequence."""
        if self._is_shown:
            self._write(f"\r{' ' * len(LINE)}\r")
            self._is_shown = False

    def come_back(self) -> None:
        """Write the line again, if it was not erased for good."""
        if self._is_wanted and not self._is_shown:
            self._write(f"\r{LINE}")
            self._is_shown = True

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            self._stream.write(text)
            self._stream.flush()


sign_of_life = SignOfLife()
"""The line of this process."""


class _BeforeLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sign_of_life.make_room()


class _AfterLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sign_of_life.come_back()


def keep_below_log() -> None:
    """Make the line stay below what is logged. Call this after the log's own handlers are installed."""
    handlers = logging.getLogger().handlers
    handlers[:] = [_BeforeLog(), *handlers, _AfterLog()]


def is_wanted(arguments: Sequence[str]) -> bool:
    """Return whether a command line is an `understudy run` that starts a program, without --quiet."""
    if not arguments or arguments[0] != "run":
        return False
    own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
    return not {"--quiet", "--help", "-h"} & set(own)
