"""A wrapper for a running turn."""

from collections.abc import AsyncIterator, Awaitable, Sequence

from engine import Event, Outcome, Process, Running
from translate.usage import MessageUsage


class Around:
    """Passes everything on from another running turn. Subclasses override :meth:`__aiter__` to see the events."""

    def __init__(self, running: Running) -> None:
        self._running = running

    @property
    def process(self) -> Process:
        """How the turn got its process."""
        return self._running.process

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet."""
        return self._running.backlog

    @property
    def retries(self) -> int:
        """How often the turn was tried again."""
        return self._running.retries

    @property
    def ignored(self) -> Sequence[str]:
        """The app's parameters that turned out to have no effect."""
        return self._running.ignored

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """The token usage of each of Claude's messages."""
        return self._running.messages

    @property
    def complete(self) -> bool:
        """Whether the answer was read up to its stop reason."""
        return self._running.complete

    @property
    def ended(self) -> Awaitable[Outcome]:
        """How the turn ended."""
        return self._running.ended

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the turn's events."""
        return self._running.__aiter__()
