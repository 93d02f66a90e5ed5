"""A line on the terminal while `understudy run` starts, gone before the program says anything.

It is shown before most of Understudy is imported, which takes as long as the rest of the start. So this module imports
nothing but the standard library. Where stderr is no terminal nothing is written.
"""

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import TextIO

LINE = "understudy: starting ..."


class SignOfLife:
    """The line: shown at once, and erased for good when Understudy has started or cannot.

    What is logged in between stands above it: :meth:`make_room` before it is written, :meth:`come_back` afterwards.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_wanted = False
        self._is_shown = False

    def show(self) -> None:
        """Write the line, if somebody can see it."""
        self._is_wanted = self._stream is not None and self._stream.isatty()
        self.come_back()

    def erase(self) -> None:
        """Take the line back for good."""
        self._is_wanted = False
        self.make_room()

    def make_room(self) -> None:
        """Take the line back for a while. With blanks: not every console knows the escape sequence for it."""
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
"""The one of this process."""


class _BeforeLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sign_of_life.make_room()


class _AfterLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sign_of_life.come_back()


def keep_below_log() -> None:
    """Have the line make room for what is logged. The log's own handlers must be there already."""
    handlers = logging.getLogger().handlers
    handlers[:] = [_BeforeLog(), *handlers, _AfterLog()]


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of `understudy run` that starts a program, and does not ask for quiet."""
    if not arguments or arguments[0] != "run":
        return False
    own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
    return not {"--quiet", "--help", "-h"} & set(own)
