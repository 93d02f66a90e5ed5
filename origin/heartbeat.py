"""A sign of life on a stream that has nothing to say yet.

Between an app and a proxy there may be others that close a connection on which nothing moves. A comment line is part of
every event stream and is skipped by every client
(https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

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
