"""Who is next: a bounded number of places, shared fairly by the clients that want one.

A client is named ``owner`` or ``owner/app``. The owner is a key, or an address where there are no keys. Places and the
line are shared by owners, since whoever shares a key can call themselves as many apps as they like; an owner's own
turns are shared by its apps.

- The line is served owner by owner, each owner's requests app by app, each app's in the order they came.
- A full line is no reason to refuse an owner that waits with less than others: the newest request of the owner that
  waits with most is refused in its stead. So everybody who waits has a fair share of the line, and an owner that is
  alone may have all of it.
- ``kept`` places are only given to owners that have none yet, so that one who holds the others with long turns does not
  keep everybody else waiting for their end.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable

from engine.errors import ClaudeError
from engine.progress import Wait, waiting_for

# What a client is told to wait when there is no place: turns take seconds.
RETRY_AFTER_S = 1


def owner_in(client: str) -> str:
    """Return the owner of a client ``owner/app``."""
    return client.partition("/")[0]


class Line[T]:
    """A queue of queues of queues: owners in turn, of each its apps in turn. Without I/O."""

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
        """Return the next client and its oldest item, and put owner and client behind the others.

        None when nobody waits who ``may`` have a turn, which is asked of owners.
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
        """Take out the newest item of the owner that waits with most; None if the client's own waits with as much.

        One more of the client's is counted in.
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
        """Take an item out, if it is there."""
        owner = owner_in(client)
        items = self._waiting.get(owner, OrderedDict()).get(client, deque())
        with contextlib.suppress(ValueError):
            items.remove(item)
            self._took(owner, client)

    def _took(self, owner: str, client: str) -> None:
        """Count an item that was taken out, and forget queues that are empty."""
        self._counts[owner] -= 1
        if not self._waiting[owner][client]:
            del self._waiting[owner][client]
        if not self._waiting[owner]:
            del self._waiting[owner], self._counts[owner]


class Places:
    """At most ``limit`` at once; at most ``max_waiting`` wait, each up to ``wait_s``.

    ``kept`` of the places are only for owners that have none yet; all but one of them may be.
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
        """Have a place while the block runs. Raises ClaudeError: ``queue_full``, or ``busy`` when none came free."""
        await self._take(client)
        try:
            yield
        finally:
            self._leave(client)

    async def _take(self, client: str) -> None:
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(client, free)
        # Whoever waits is before us. A place that is kept from them may be for us.
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
                # The place was given in the very moment that nobody wanted it any more.
                self._leave(client)
            if isinstance(error, TimeoutError) and waited.expired():
                raise ClaudeError("busy", retry_after_s=RETRY_AFTER_S) from None
            raise

    def _make_way(self, client: str) -> None:
        """Have room in a full line. Raises ClaudeError (``queue_full``) where the client waits with enough already."""
        full = ClaudeError("queue_full", retry_after_s=RETRY_AFTER_S, detail=f"{self.waiting} requests wait")
        while self.waiting >= self._max_waiting:
            given_up = self._line.give_way(client)
            if given_up is None:
                raise full
            if not given_up.done():
                given_up.set_exception(full)

    def _may(self, owner: str) -> bool:
        """Whether an owner may have one more place."""
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
