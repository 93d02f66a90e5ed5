"""Where the log goes, what a line of it looks like, and whose words are in it.

On a terminal a line has the local time of day, and is as long as it is: the terminal folds it, so that a URL is copied
whole. Where stderr is no terminal, and in a log file, a line has the date too, in local time with its offset from UTC
(ISO 8601), and nothing folds it.
"""

import contextlib
import logging
import logging.handlers
import os
import sys
from datetime import datetime
from pathlib import Path

from addons.fold_lines import FoldLines
from auth.log_redaction import RedactSecrets
from cli.fatal import fatal, stderr
from settings import hide_password

LOGGED = ("understudy", "addons", "api", "auth", "cassettes", "engine", "rehearsal", "storage")
"""The loggers that `--log-level` is about; of all others only warnings are shown."""

log = logging.getLogger("understudy")
"""What the commands log with."""


class Dated(logging.Formatter):
    """Writes date, time, level and message: ``2026-11-30T21:28:11.042+01:00 INFO the proxy listens at …``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the local time with its offset from UTC, to the millisecond."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class DatedWithoutPasswords(Dated):
    """Writes the same, without the passwords and tokens of URLs: a file is kept, and mitmweb's URL lets in."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return hide_password(super().format(record))


class InFile(logging.handlers.WatchedFileHandler):
    """Writes to a file, and to a new one of that name when it was moved away. Says once that it cannot."""

    told = False
    # Closing does it, and does not raise.
    flushOnClose = False  # noqa: N815 - logging's name

    def close(self) -> None:
        """Close the file, though what is left to write may not fit on the disk."""
        with contextlib.suppress(OSError):
            super().close()

    def reopenIfNeeded(self) -> None:  # noqa: N802 - logging's name
        """Look whether the file was moved away; on Windows an open file cannot be."""
        if os.name == "posix":
            super().reopenIfNeeded()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say what is wrong in one line, the first time."""
        if not self.told:
            self.told = True
            reason = getattr(sys.exc_info()[1], "strerror", None) or "it does not take what is written"
            fatal(f"the log file cannot be written any more: {self.baseFilename}: {reason}")


class InPipe(logging.Handler):
    """Writes to whatever is stderr at the moment, and folds nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


def log_to_stderr(level: str, *, file: Path | None = None, file_level: str | None = None) -> None:
    """Log to stderr and, if one is named, to a file, without a secret in either.

    ``file_level``: from which level on it is written to the file, where that is lower than what is shown. Ends the
    program if the file cannot be opened.
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
    # Not at the top of the file: its imports take a tenth of a second, which a log in a pipe does not need.
    from rich.highlighter import NullHighlighter

    from cli.log_on_terminal import OnTerminal

    # rich's highlighter underlines a URL together with the punctuation behind it.
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
