"""What answers one request, whatever carries the answer: HTTP, or messages on a WebSocket."""

from collections.abc import Sequence
from typing import Protocol

type Headers = Sequence[tuple[str, str]]


class Responder(Protocol):
    """One request's answer: either `respond`, or `start`, `send`… and `finish`.

    Every method that writes raises ConnectionResetError once the connection is gone.
    """

    headers: list[tuple[str, str]]
    """Further headers for the answer, whatever it will be."""
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

    async def finish(self) -> None:
        """End it cleanly."""

    def abort(self) -> None:
        """Cut the connection, so that what was sent cannot pass for a whole answer."""
