"""Leases: how several proxies that share a database know which of them is still alive.

A row that a process works on has a column ``lease_until``, in Unix seconds. The process moves that time forward while
it lives. When the time has passed, the process is dead or out of reach, and other processes may act on the row.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, Connection, Table, true, update

from storage.base import Store
from storage.database import Database, StoreError

LEASE_S = 30.0
"""How many seconds a lease lasts unless it is renewed."""

log = logging.getLogger(__name__)


def never() -> bool:
    """Return False: the default for what can stop :func:`keep_renewing`."""
    return False


async def keep_renewing(
    renew: Callable[[], Awaitable[None]], lease_s: float, *, warning: str, is_lost: Callable[[], bool] = never
) -> None:
    """Call ``renew`` three times in each lease, until the task is cancelled or ``is_lost`` returns True.

    If the database fails, ``warning`` is logged with the error, and the next try comes as usual.
    """
    while not is_lost():
        await asyncio.sleep(lease_s / 3)
        try:
            await renew()
        except StoreError as error:
            log.warning("%s: %s", warning, error)


class LeasedRows:
    """The rows of one table that this process works on, by their ids.

    Use it in an ``async with``: the leases are renewed until the block ends. ``now`` returns Unix seconds. ``mine``
    excludes rows that another process has taken over.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        *,
        now: Callable[[Connection], float],
        lease_s: float,
        warning: str,
        mine: ColumnElement[bool] | None = None,
    ) -> None:
        self._database = database
        self._table = table
        self._now = now
        self._lease_s = lease_s
        self._warning = warning
        self._mine = true() if mine is None else mine
        self._renewing: asyncio.Task[None] | None = None
        self.ids: set[str] = set()

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._keep_renewing(), name=f"renew the leases in {self._table.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None

    @property
    def is_open(self) -> bool:
        """Whether leases are being renewed: True inside the ``async with``."""
        return self._renewing is not None

    async def renew(self) -> None:
        """Move ``lease_until`` of all rows in ``ids`` forward. Raises StoreError."""
        ids = tuple(self.ids)
        if not ids:
            return

        def work(connection: Connection) -> None:
            until = self._now(connection) + self._lease_s
            running = self._mine & self._table.c.id.in_(ids)
            connection.execute(update(self._table).where(running).values(lease_until=until))

        await self._database.awrite(work)

    async def _keep_renewing(self) -> None:
        await keep_renewing(lambda: self.renew(), self._lease_s, warning=self._warning)


class LeasedStore(Store):
    """A store with leased rows. Use it in an ``async with``: the leases are renewed until the block ends."""

    running: LeasedRows
    """The rows that this process works on."""

    async def __aenter__(self) -> Self:
        await self.running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.running.__aexit__(kind, error, traceback)
        await self.close()

    async def close(self) -> None:
        """Wait for work that is still under way. There is none unless a subclass starts some."""
