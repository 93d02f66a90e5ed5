"""Event streams, and their sign of life when they have nothing to say yet.

Between an app and a proxy there may be others that close a connection on which nothing moves. A comment line is part of
every event stream and is skipped by every client
(https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from api.http.responder import Headers, Responder

EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")
COMMENT = b": keep-alive\n\n"


class Heartbeat:
    """Beats whenever nothing was sent for ``every_s``."""

    def __init__(self, every_s: float, beat: Callable[[], Awaitable[None]]) -> None:
        self._every_s = every_s
        self._beat = beat
        self._last = time.monotonic()

    def sent(self) -> None:
        """Tell that something was sent."""
        self._last = time.monotonic()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while the block runs."""
        task = asyncio.create_task(self._run(), name="heartbeat")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            silent_s = time.monotonic() - self._last
            if silent_s >= self._every_s:
                await self._beat()
                self.sent()
            else:
                await asyncio.sleep(self._every_s - silent_s)


class EventStream:
    """An answer that comes as events. Its head goes out with what is sent first, be that a sign of life.

    ``headers`` are asked for then, and not before: they say who answers.
    """

    def __init__(self, exchange: Responder, headers: Callable[[], Headers], keep_alive_s: float) -> None:
        self._exchange = exchange
        self._headers = headers
        self._heart = Heartbeat(keep_alive_s, self._beat)

    def beating(self) -> AbstractAsyncContextManager[None]:
        """Show that it lives while the block runs, whenever it is silent for too long."""
        return self._heart.beating()

    async def start(self) -> None:
        """Send the head, unless it was sent. From then on a failure can only be an event."""
        if not self._exchange.started:
            await self._exchange.start(200, [EVENT_STREAM, ("cache-control", "no-cache"), *self._headers()])

    async def send(self, events: bytes) -> None:
        """Send events."""
        await self.start()
        await self._exchange.send(events)
        self._heart.sent()

    async def _beat(self) -> None:
        await self.start()
        await self._exchange.send(COMMENT)
