"""The interface that sends the response to one request, over HTTP or as messages on a WebSocket."""

from collections.abc import Sequence
from typing import Protocol

from translate.sse import EncodedEvent

type Headers = Sequence[tuple[str, str]]


class Responder(Protocol):
    """One request's answer: either `respond`, or `start`, `send`… and `finish`.

    Every method that writes raises ConnectionResetError once the connection is gone.
    """

    headers: list[tuple[str, str]]
    """More headers for the response, for success and for errors."""
    started: bool
    """Whether the status is spent."""
    ended: bool
    """Whether the answer is complete, or was cut by either side."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer whole."""

    async def start(self, status: int, headers: Headers) -> None:
        """Begin an answer whose length is not known."""

    async def send(self, data: bytes) -> None:
        """Send a piece of it."""

    async def send_events(self, events: Sequence[EncodedEvent]) -> None:
        """Send events: as a part of an event stream, or each as a message."""

    async def send_keep_alive(self) -> None:
        """Show that the connection lives, where there is nothing to send yet."""

    async def finish(self) -> None:
        """End it cleanly."""

    def abort(self) -> None:
        """Cut the connection, so that what was sent cannot pass for a whole answer."""
