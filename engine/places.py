"""A limited number of places for turns, and a fair queue for them.

A client is named ``owner`` or ``owner/app``. The owner is a key, or an address if there are no keys. Owners share the
places and the queue equally, because one owner can use any number of app names. The apps of an owner share its part.

- The owners in the queue take turns, and so do the apps of each owner. The requests of an app keep their order.
- If the queue is full, the newest request of the owner with the most waiting requests is refused. A new request is
  refused only if its own owner has the most. So each owner has a fair share of the queue, and an owner that is alone
  can use all of it.
- ``kept`` places are only for owners that have no place yet. So an owner with many long turns cannot block the others.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable

from engine.errors import ClaudeError
from engine.progress import Wait, waiting_for

# The retry-after for a client that gets no place. Turns take seconds.
RETRY_AFTER_S = 1


def owner_in(client: str) -> str:
    """Return the owner of a client ``owner/app``."""
    return client.partition("/")[0]


class Line[T]:
    """A queue in which owners take turns, and the apps of each owner take turns. Without I/O."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, client: str, item: T) -> None:
        """Put an item at the end of its client's queue."""
        owner = owner_in(client)
        self._waiting.setdefault(owner, OrderedDict()).setdefault(client, deque()).append(item)
        self._counts[owner] += 1

    def take(self, may: Callable[[str], bool] = lambda owner: True) -> tuple[str, T] | None:
        """Return the next client and its oldest item, and put its owner and app behind the others.

        ``may`` says whether an owner can be served. Returns None if no such owner waits.
        """
        owner = next((owner for owner in self._waiting if may(owner)), None)
        if owner is None:
            return None
        apps = self._waiting[owner]
        client = next(iter(apps))
        item = apps[client].popleft()
        self._took(owner, client)
        if client in apps:
            apps.move_to_end(client)
        if owner in self._waiting:
            self._waiting.move_to_end(owner)
        return client, item

    def give_way(self, client: str) -> T | None:
        """Remove and return the newest item of the owner with the most items.

        Returns None if the client's owner would have as many, with one more item.
        """
        if not self._counts:
            return None
        owner, most = self._counts.most_common(1)[0]
        if self._counts[owner_in(client)] + 1 >= most:
            return None
        apps = self._waiting[owner]
        longest = max(reversed(apps), key=lambda app: len(apps[app]))
        item = apps[longest].pop()
        self._took(owner, longest)
        return item

    def remove(self, client: str, item: T) -> None:
        """Remove an item, if it is there."""
        owner = owner_in(client)
        items = self._waiting.get(owner, OrderedDict()).get(client, deque())
        with contextlib.suppress(ValueError):
            items.remove(item)
            self._took(owner, client)

    def _took(self, owner: str, client: str) -> None:
        """Count a removed item, and delete empty queues."""
        self._counts[owner] -= 1
        if not self._waiting[owner][client]:
            del self._waiting[owner][client]
        if not self._waiting[owner]:
            del self._waiting[owner], self._counts[owner]


class Places:
    """Up to ``limit`` places. Up to ``max_waiting`` requests wait for one, each for up to ``wait_s`` seconds.

    ``kept`` of the places are only for owners that have none yet. At least one place is for everybody.
    """

    def __init__(self, limit: int, *, max_waiting: int, wait_s: float, kept: int = 0) -> None:
        self._limit = limit
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._kept = kept
        self._line: Line[asyncio.Future[None]] = Line()
        self._having: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._having.total()

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
        """Hold a place while the block runs. Raises ClaudeError: ``queue_full``, or ``busy`` if no place became
        free."""
        await self._take(client)
        try:
            yield
        finally:
            self._leave(client)

    async def _take(self, client: str) -> None:
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(client, free)
        # Those that wait come first. But a kept place may be for this client and not for them.
        self._serve()
        if free.done():
            return
        if self.waiting > self._max_waiting:
            self._line.remove(client, free)
            self._make_way(client)
            self._line.add(client, free)
        waiting_for(Wait.PLACE, lambda: f"{self.taken} of {self._limit} places are taken, {self.waiting} wait")
        try:
            async with asyncio.timeout(self._wait_s) as waited:
                await free
        except BaseException as error:
            self._line.remove(client, free)
            if free.done() and not free.cancelled() and free.exception() is None:
                # The place was given at the moment when this client stopped waiting.
                self._leave(client)
            if isinstance(error, TimeoutError) and waited.expired():
                raise ClaudeError("busy", retry_after_s=RETRY_AFTER_S) from None
            raise

    def _make_way(self, client: str) -> None:
        """Make room in a full queue. Raises ClaudeError (``queue_full``) if the client's owner has the most requests
        in it."""
        full = ClaudeError("queue_full", retry_after_s=RETRY_AFTER_S, detail=f"{self.waiting} requests wait")
        while self.waiting >= self._max_waiting:
            given_up = self._line.give_way(client)
            if given_up is None:
                raise full
            if not given_up.done():
                given_up.set_exception(full)

    def _may(self, owner: str) -> bool:
        """Whether an owner can have one more place."""
        free = self._limit - self.taken
        return free > 0 and (not self._having[owner] or free > min(self._kept, self._limit - 1))

    def _leave(self, client: str) -> None:
        owner = owner_in(client)
        self._having[owner] -= 1
        if not self._having[owner]:
            del self._having[owner]
        self._serve()

    def _serve(self) -> None:
        while (taken := self._line.take(self._may)) is not None:
            client, free = taken
            if not free.done():
                self._having[owner_in(client)] += 1
                free.set_result(None)
