"""Sets up the log: where it goes, the format of a line, and which loggers are shown.

On a terminal a line has the local time of day. Only the terminal wraps a long line, so a URL can be copied whole. In a
pipe and in a log file a line also has the date, in local time with the offset from UTC (ISO 8601). It is never wrapped.
"""

import contextlib
import logging
import logging.handlers
import os
import sys
from datetime import datetime
from pathlib import Path

from rich.console import ConsoleRenderable
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.text import Text
from rich.traceback import Traceback

from addons.fold_lines import FoldLines
from auth.log_redaction import RedactSecrets
from cli.fatal import fatal, stderr
from settings import hide_password

LOGGED = ("understudy", "addons", "api", "auth", "cassettes", "engine", "rehearsal", "storage")
"""The loggers that `--log-level` applies to. All other loggers show only warnings."""

log = logging.getLogger("understudy")
"""The logger of the commands."""


class OnTerminal(RichHandler):
    """Writes a record in one line of any length. Only the terminal wraps it."""

    def render(
        self, *, record: logging.LogRecord, traceback: Traceback | None, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        """Put the time and the level before the message."""
        time = Text(f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S} ", "log.time")
        message = message_renderable if isinstance(message_renderable, Text) else Text(record.getMessage())
        return Text.assemble(time, self.get_level_text(record), " ", message)


class Dated(logging.Formatter):
    """Writes date, time, level and message: ``2026-11-30T21:28:11.042+01:00 INFO the proxy listens at …``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the local time with its offset from UTC, to the millisecond."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class DatedWithoutPasswords(Dated):
    """Writes the same, but hides passwords and tokens in URLs. A log file is stored, and mitmweb's URL gives access."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return hide_password(super().format(record))


class InFile(logging.handlers.WatchedFileHandler):
    """Writes to a file. If the file was moved away, begins a new one of that name. Shows a write error only once."""

    told = False
    # close() flushes, and suppresses errors.
    flushOnClose = False  # noqa: N815 - logging's name

    def close(self) -> None:
        """Close the file. Ignore an error when the remaining lines do not fit on the disk."""
        with contextlib.suppress(OSError):
            super().close()

    def reopenIfNeeded(self) -> None:  # noqa: N802 - logging's name
        """Open a new file if the old one was moved away. On Windows an open file cannot be moved."""
        if os.name == "posix":
            super().reopenIfNeeded()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Print the error in one line, the first time."""
        if not self.told:
            self.told = True
            reason = getattr(sys.exc_info()[1], "strerror", None) or "a write failed"
            fatal(f"the log file cannot be written any more: {self.baseFilename}: {reason}")


class InPipe(logging.Handler):
    """Writes to the current ``sys.stderr``, and wraps nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


def log_to_stderr(level: str, *, file: Path | None = None, file_level: str | None = None) -> None:
    """Log to stderr and to ``file``, if there is one. Secrets are masked in both.

    ``file_level`` is the level for the file, if it is lower than ``level``. Ends the program with an error if the file
    cannot be opened.
    """
    shown = _on_stderr()
    handlers = [shown]
    least = level.upper()
    if file is not None:
        handlers.append(_in_file(file))
        if file_level is not None:
            shown.setLevel(level.upper())
            least = min(least, file_level.upper(), key=logging.getLevelName)
    redacted = RedactSecrets(os.environ)
    for handler in handlers:
        handler.addFilter(FoldLines(handler))
        handler.addFilter(redacted)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    for name in LOGGED:
        logging.getLogger(name).setLevel(least)


def _on_stderr() -> logging.Handler:
    if not sys.stderr.isatty():
        pipe = InPipe()
        pipe.setFormatter(Dated())
        return pipe
    # rich's highlighter would underline a URL together with the punctuation after it.
    handler = OnTerminal(console=stderr, show_path=False, rich_tracebacks=False, highlighter=NullHighlighter())
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _in_file(file: Path) -> logging.Handler:
    try:
        handler = InFile(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise fatal(f"the log file cannot be opened: {file}: {error.strerror}") from None
    handler.setFormatter(DatedWithoutPasswords())
    return handler
