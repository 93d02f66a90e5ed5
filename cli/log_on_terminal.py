"""What a line of the log looks like on a terminal."""

import logging
from datetime import datetime

from rich.console import ConsoleRenderable
from rich.logging import RichHandler
from rich.text import Text
from rich.traceback import Traceback


class OnTerminal(RichHandler):
    """Writes a record in one line, however long: only the terminal itself may fold it."""

    def render(
        self, *, record: logging.LogRecord, traceback: Traceback | None, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        """Put the time and the level before the message."""
        time = Text(f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S} ", "log.time")
        message = message_renderable if isinstance(message_renderable, Text) else Text(record.getMessage())
        return Text.assemble(time, self.get_level_text(record), " ", message)
