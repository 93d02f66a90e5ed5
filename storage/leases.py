"""Locks by name across all proxies: one holder at a time, in the order of the requests.

Theory of operation
-------------------
A request for a lock inserts a ticket: a row with the lock's name and the next number. The lowest number holds the lock.
An advisory lock on PostgreSQL, and the one write lock on SQLite, give out the numbers one after the other, so they
become visible in their order. The first number of a name is random, so no number is given out twice. Otherwise a holder
that slept too long could mistake another's ticket for its own and delete it.

Holders and waiters renew the leases of their tickets (:mod:`storage.lease_renewal`). A ticket is deleted only by its
owner, or by those behind it once its lease has run out. So there are never two holders: a holder that slept too long
finds its ticket gone when it renews, and :attr:`Hold.lost` becomes True.

When a holder lets go, the waiters in the same process are woken. Those in other processes poll.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator

from sqlalchemy import Connection, delete, func, insert, select, text, update

from storage.base import Clock, Store, check_ids
from storage.database import Database, StoreError
from storage.detached_tasks import DetachedTasks
from storage.lease_renewal import LEASE_S, keep_renewing
from storage.tables import tickets

POLL_S = 0.1

# The first half of our advisory locks' keys, where PostgreSQL takes two: nothing else in the database uses any.
LOCKS = 1

# The first number is below this; there is room for all that follow.
FIRST = 2**62

log = logging.getLogger(__name__)


class BusyError(Exception):
    """Another request held the lock for longer than the caller would wait."""


class Hold:
    """A lock that is held, or a place in the queue for it. ``lost``: the lease ran out, and another may hold it now."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.lost = False

    def __repr__(self) -> str:
        return f"<Hold {self.name} number={self.number}{' lost' if self.lost else ''}>"


class Leases(Store):
    """The locks in a database."""

    def __init__(
        self, database: Database, *, clock: Clock | None = None, lease_s: float = LEASE_S, poll_s: float = POLL_S
    ) -> None:
        super().__init__(database, clock=clock)
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._freed: dict[str, asyncio.Event] = {}
        self._tasks = DetachedTasks()

    @contextlib.asynccontextmanager
    async def hold(self, name: str, *, wait_s: float) -> AsyncIterator[Hold]:
        """Wait for the lock of this name, hold it while the block runs, then release it.

        Raises BusyError after ``wait_s`` seconds of waiting. With 0 it does not wait.
        """
        check_ids(name)
        deadline = asyncio.get_running_loop().time() + wait_s
        hold = await self._take(name)
        renewing = asyncio.create_task(self._keep_renewing(hold), name=f"renew the lease of {name}")
        try:
            await self._wait(hold, deadline)
            yield hold
        finally:
            renewing.cancel()
            await self._tasks.run(self._let_go(hold), f"let go of {name}")

    async def holder(self, name: str) -> int | None:
        """Return the ticket number of the holder, None if nobody holds the lock."""
        row = tickets.c

        def work(connection: Connection) -> int | None:
            live = select(func.min(row.number)).where(row.name == name, row.lease_until > self._now(connection))
            number: int | None = connection.execute(live).scalar_one()
            return number

        return await self._database.aread(work)

    async def renew(self, hold: Hold) -> None:
        """Renew the lease of a ticket. Sets ``lost`` if the ticket is gone. Raises StoreError."""
        row = tickets.c

        def work(connection: Connection) -> bool:
            until = self._now(connection) + self._lease_s
            mine = (row.name == hold.name) & (row.number == hold.number)
            return bool(connection.execute(update(tickets).where(mine).values(lease_until=until)).rowcount)

        hold.lost = not await self._database.awrite(work)

    def forget_dead(self, connection: Connection, now: float, limit: int) -> int:
        """Delete up to ``limit`` tickets whose leases have run out, in a transaction. Returns how many."""
        row = tickets.c
        dead = select(row.name, row.number).where(row.lease_until <= now).limit(limit)
        found = connection.execute(dead).all()
        return sum(
            connection.execute(
                delete(tickets).where(row.name == one.name, row.number == one.number, row.lease_until <= now)
            ).rowcount
            for one in found
        )

    async def _take(self, name: str) -> Hold:
        row = tickets.c

        def work(connection: Connection) -> Hold:
            if connection.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:locks, hashtext(:name))")
                connection.execute(lock, {"locks": LOCKS, "name": name})
            last = connection.execute(select(func.max(row.number)).where(row.name == name)).scalar_one()
            number = secrets.randbelow(FIRST) if last is None else last + 1
            until = self._now(connection) + self._lease_s
            connection.execute(insert(tickets).values(name=name, number=number, lease_until=until))
            return Hold(name, number)

        return await self._tasks.run_or_undo(self._database.awrite(work), self._let_go, f"take a ticket for {name}")

    async def _wait(self, hold: Hold, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            freed = self._freed.setdefault(hold.name, asyncio.Event())
            if await self._is_first(hold):
                return
            left_s = deadline - loop.time()
            if left_s <= 0 or hold.lost:
                raise BusyError(f"another request holds {hold.name}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(freed.wait(), min(self._poll_s, left_s))

    async def _is_first(self, hold: Hold) -> bool:
        row = tickets.c
        until_mine = (row.name == hold.name) & (row.number <= hold.number)

        def look(connection: Connection) -> tuple[list[int], bool]:
            now = self._now(connection)
            found = connection.execute(select(tickets).where(until_mine).order_by(row.number)).all()
            others_dead = any(one.number < hold.number and one.lease_until <= now for one in found)
            return [one.number for one in found], others_dead

        def bury(connection: Connection) -> None:
            dead = until_mine & (row.number < hold.number) & (row.lease_until <= self._now(connection))
            connection.execute(delete(tickets).where(dead))

        numbers, others_dead = await self._database.aread(look)
        if others_dead:
            await self._database.awrite(bury)
            numbers, _ = await self._database.aread(look)
        hold.lost = hold.number not in numbers
        return numbers[:1] == [hold.number]

    async def _keep_renewing(self, hold: Hold) -> None:
        await keep_renewing(
            lambda: self.renew(hold),
            self._lease_s,
            warning=f"another proxy may take {hold.name} from this one",
            is_lost=lambda: hold.lost,
        )

    async def _let_go(self, hold: Hold) -> None:
        row = tickets.c
        mine = (row.name == hold.name) & (row.number == hold.number)
        try:
            await self._database.awrite(lambda connection: connection.execute(delete(tickets).where(mine)) and None)
        except StoreError as error:
            log.warning("%s could not be released; it is free when its lease runs out: %s", hold.name, error)
        if freed := self._freed.pop(hold.name, None):
            freed.set()
