"""Answers that are streams of events, and keep-alive comments for the time in which there is no event to send.

Other programs between the app and the proxy may close a connection that is silent for too long. A comment prevents
that: every client ignores it (https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes). A
WebSocket gets a ping instead.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from api.http.responder import Headers, Responder
from translate.sse import EncodedEvent

EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")


class Heartbeat:
    """Calls ``beat`` whenever nothing was sent for ``every_s`` seconds."""

    def __init__(self, every_s: float, beat: Callable[[], Awaitable[None]]) -> None:
        self._every_s = every_s
        self._beat = beat
        self._last = time.monotonic()

    def sent(self) -> None:
        """Note that something was sent."""
        self._last = time.monotonic()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Call ``beat`` when it is due, while the block runs."""
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
    """An answer that is a stream of events. Status and headers are sent with the first event or keep-alive comment.

    ``headers`` is called at that moment and not earlier, because the headers name the model that answers.
    """

    def __init__(self, exchange: Responder, headers: Callable[[], Headers], keep_alive_s: float) -> None:
        self._exchange = exchange
        self._headers = headers
        self._heart = Heartbeat(keep_alive_s, self._beat)

    def beating(self) -> AbstractAsyncContextManager[None]:
        """Send keep-alive comments while the block runs, whenever the stream is silent for too long."""
        return self._heart.beating()

    async def start(self) -> None:
        """Send status and headers, unless they are sent. From then on a failure can only be an event."""
        if not self._exchange.started:
            await self._exchange.start(200, [EVENT_STREAM, ("cache-control", "no-cache"), *self._headers()])

    async def send(self, events: Sequence[EncodedEvent]) -> None:
        """Send events."""
        await self.start()
        await self._exchange.send_events(events)
        self._heart.sent()

    async def _beat(self) -> None:
        await self.start()
        await self._exchange.send_keep_alive()
