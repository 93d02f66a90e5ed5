"""Who is next: a bounded number of places, given in turn to each client that waits.

A client with fifty requests in line gets as many places as are free, and no more of the next ones than any other
client: the line is served client by client, each client's requests in the order they came.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from engine.errors import ClaudeError
from engine.progress import Wait, waiting_for

# What a client is told to wait when there is no place: turns take seconds.
RETRY_AFTER_S = 1


class Line[T]:
    """A queue of queues: one for each client, served in turn. Without I/O."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, client: str, item: T) -> None:
        """Put an item at the end of its client's queue."""
        self._waiting.setdefault(client, deque()).append(item)

    def take(self) -> T | None:
        """Return the next client's oldest item and put the client behind the others; None when nobody waits."""
        if not self._waiting:
            return None
        client, items = next(iter(self._waiting.items()))
        item = items.popleft()
        del self._waiting[client]
        if items:
            self._waiting[client] = items
        return item

    def remove(self, client: str, item: T) -> None:
        """Take an item out, if it is there."""
        items = self._waiting.get(client, deque())
        with contextlib.suppress(ValueError):
            items.remove(item)
        if not items:
            self._waiting.pop(client, None)


class Places:
    """At most ``limit`` at once; at most ``max_waiting`` wait, each up to ``wait_s``."""

    def __init__(self, limit: int, *, max_waiting: int, wait_s: float) -> None:
        self._limit = limit
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._line: Line[asyncio.Future[None]] = Line()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    @property
    def limit(self) -> int:
        """How many places there are."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._serve()

    @contextlib.asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Have a place while the block runs. Raises ClaudeError: ``queue_full``, or ``busy`` when none came free."""
        await self._take(client)
        try:
            yield
        finally:
            self.taken -= 1
            self._serve()

    async def _take(self, client: str) -> None:
        if self.taken < self._limit and not self.waiting:
            self.taken += 1
            return
        if self.waiting >= self._max_waiting:
            raise ClaudeError("queue_full", retry_after_s=RETRY_AFTER_S, detail=f"{self.waiting} requests wait")
        free = asyncio.get_running_loop().create_future()
        self._line.add(client, free)
        waiting_for(Wait.PLACE, lambda: f"{self.taken} of {self._limit} places are taken, {self.waiting} wait")
        try:
            async with asyncio.timeout(self._wait_s) as waited:
                await free
        except BaseException as error:
            self._line.remove(client, free)
            if free.done() and not free.cancelled():
                # The place was given in the very moment that nobody wanted it any more.
                self.taken -= 1
                self._serve()
            if isinstance(error, TimeoutError) and waited.expired():
                raise ClaudeError("busy", retry_after_s=RETRY_AFTER_S) from None
            raise

    def _serve(self) -> None:
        while self.taken < self._limit and (free := self._line.take()) is not None:
            if not free.done():
                self.taken += 1
                free.set_result(None)
