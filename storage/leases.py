"""Who may go on with a thing now: one at a time, in the order in which they asked, across all proxies.

Theory of operation
-------------------
Who wants a thing takes a ticket, a row with the next number for the thing's name; the lowest number has it. Numbers are
given out one after the other (an advisory lock on PostgreSQL; on SQLite the one write lock), so the order in which they
become visible is that of the numbers. The first one is random, so that no number is given out twice: a holder that
slept too long must not take another's ticket for its own, and delete it.

Holders and waiters renew their tickets' leases while they live. A ticket is lost only by being deleted, and only one
whose lease has run out is deleted by those behind it. So there are never two who have the thing: a holder that slept
too long finds its ticket gone when it renews, and is told (:attr:`Hold.lost`).

Waiters of one process are woken when another of its requests lets go; those of other processes look again and again.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, update

from storage.base import Clock, Store, check_ids
from storage.database import Database, StoreError
from storage.tables import tickets

LEASE_S = 30.0
POLL_S = 0.1

# The first half of our advisory locks' keys, where PostgreSQL takes two: nothing else in the database uses any.
LOCKS = 1

# The first number is below this; there is room for all that follow.
FIRST = 2**62

log = logging.getLogger(__name__)


class BusyError(Exception):
    """Somebody else has the thing, and kept it for as long as one would wait."""


class Hold:
    """A place in the line for a thing, or the thing. ``lost``: the lease ran out, and another may have it now."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.lost = False

    def __repr__(self) -> str:
        return f"<Hold {self.name} number={self.number}{' lost' if self.lost else ''}>"


class Leases(Store):
    """The things that are held, in a database."""

    def __init__(
        self, database: Database, *, clock: Clock | None = None, lease_s: float = LEASE_S, poll_s: float = POLL_S
    ) -> None:
        super().__init__(database, clock=clock)
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._freed: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def hold(self, name: str, *, wait_s: float) -> AsyncIterator[Hold]:
        """Have the thing of this name, after all who asked before, and let it go in the end.

        Raises BusyError if it takes longer than ``wait_s``; 0 waits for nobody.
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
            await asyncio.shield(self._start(self._let_go(hold), f"let go of {name}"))

    async def holder(self, name: str) -> int | None:
        """Return the number of whoever has the thing, None if nobody does."""
        row = tickets.c

        def work(connection: Connection) -> int | None:
            live = select(func.min(row.number)).where(row.name == name, row.lease_until > self._now(connection))
            number: int | None = connection.execute(live).scalar_one()
            return number

        return await self._database.aread(work)

    async def renew(self, hold: Hold) -> None:
        """Say that whoever has this still lives."""
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

        taking = self._start(self._database.awrite(work), f"take a ticket for {name}")
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._start(self._give_back(taking), f"give back a ticket for {name}")
            raise

    async def _wait(self, hold: Hold, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            freed = self._freed.setdefault(hold.name, asyncio.Event())
            if await self._is_first(hold):
                return
            left_s = deadline - loop.time()
            if left_s <= 0 or hold.lost:
                raise BusyError(f"somebody else has {hold.name}")
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
        while not hold.lost:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self.renew(hold)
            except StoreError as error:
                log.warning("%s may be taken for free: %s", hold.name, error)

    async def _let_go(self, hold: Hold) -> None:
        row = tickets.c
        mine = (row.name == hold.name) & (row.number == hold.number)
        try:
            await self._database.awrite(lambda connection: connection.execute(delete(tickets).where(mine)) and None)
        except StoreError as error:
            log.warning("%s is free only when its lease runs out: %s", hold.name, error)
        if freed := self._freed.pop(hold.name, None):
            freed.set()

    async def _give_back(self, taking: asyncio.Task[Hold]) -> None:
        with contextlib.suppress(StoreError):
            await self._let_go(await taking)

    def _start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start what must end though nobody waits for it any more."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
