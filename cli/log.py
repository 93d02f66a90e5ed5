"""Where the log goes, and whose words are in it."""

import logging
import os

from rich.logging import RichHandler

from auth.redact import RedactSecrets
from cli.fatal import stderr

LOGGED = ("understudy", "addons", "auth", "engine", "origin", "rehearsal", "remembering", "tape")
"""The loggers that `--log-level` is about; of all others only warnings are shown."""

log = logging.getLogger("understudy")
"""What the commands log with."""


def log_to_stderr(level: str) -> None:
    """Log to the console, without a secret in it."""
    handler = RichHandler(console=stderr, show_path=False, rich_tracebacks=False, log_time_format="[%X]")
    handler.addFilter(RedactSecrets(os.environ))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    for name in LOGGED:
        logging.getLogger(name).setLevel(level.upper())
