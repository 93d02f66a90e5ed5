"""Responses that are answered while nobody waits: their state, their events so far, and who works on them.

Theory of operation
-------------------
The proxy that takes such a request works on it under a lease, which it renews while it lives. Whoever asks, at any
proxy, reads the state and the events from the database. When a lease runs out its worker is dead, or as good as dead:
another proxy then ends the response as failed, and the worker, should it come back, is told so and can write no more.
The worker itself knows better: what it has in hand it does not give up, however far the clock has jumped.

A response ends once. Who ends it holds its row (a lock; on SQLite the one write lock) and finds that it has not ended,
so of a worker that completes and another proxy that gives it up, one is the first and the other is told.

Source: ``background: true`` of ``/v1/responses``, its ``cancel``, and ``stream=true&starting_after=`` of its ``GET``.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from storage.base import Clock, Item, Store, can_be_id, octets, size_of
from storage.database import Database, StoreError, insert_into
from storage.encryption import Encryption
from storage.responses import Lease, NoConversationError, StoredResponse, check, enter, insert_response, named
from storage.tables import response_events, responses

LEASE_S = 30.0

# What ends a response, and which of those ends its conversation goes on from.
ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})
ENTERS = frozenset({"completed", "incomplete"})

type Event = tuple[int, bytes]
"""A sequence number and the event's JSON."""

type Ending = Callable[[bytes, int], tuple[bytes, Sequence[Event]]]
"""Makes of the body of a response whose worker died the one that failed, and the last events, from a number on."""

log = logging.getLogger(__name__)


class EndedError(Exception):
    """The response has ended, was deleted, or was given up and is no longer this worker's: stop working on it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a response is. ``events`` are those after a number, in order; ``has_more`` if there were too many of them.

    ``ended`` tells whether it has ended, so that no more events come than there are; ``abandoned`` that it has not and
    nobody works on it any more.
    """

    status: str
    body: bytes
    events: tuple[Event, ...]
    has_more: bool
    ended: bool
    abandoned: bool
    cancel_requested: bool


class Background(Store):
    """The responses in the background. Use it in an ``async with``: while that lasts, this worker's leases are renewed.

    ``worker`` tells this one from all others; without it, it is random.
    """

    def __init__(
        self,
        database: Database,
        encryption: Encryption | None = None,
        *,
        clock: Clock | None = None,
        worker: str | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        super().__init__(database, encryption, clock=clock)
        self._worker = worker or secrets.token_hex(16)
        self._lease_s = lease_s
        self._running: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._keep_renewing(), name="renew the leases of background responses")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None

    async def begin(self, response: StoredResponse) -> None:
        """Keep a response that this worker will answer: without output, ``queued`` or ``in_progress``.

        Raises as :meth:`storage.responses.Responses.put` does. Cancelled, it may be there, and is given up in time.
        """
        check(response)
        if response.output or response.status in ENDS:
            raise ValueError("a response that is begun has not ended")

        def work(connection: Connection) -> None:
            now = self._now(connection)
            lease = Lease(self._worker, now + self._lease_s)
            insert_response(connection, self._vault, response, now, lease=lease)

        await self._database.awrite(work)
        self._running.add(response.id)

    async def append_events(self, id: str, events: Sequence[Event]) -> bool:
        """Add events, all or none, and tell whether somebody asked to cancel. What is there already is not added again.

        Raises EndedError.
        """

        def work(connection: Connection) -> bool:
            row = self._mine(connection, id)
            self._append(connection, id, events)
            return row.cancel_requested_at is not None

        return await self._own(id, work)

    async def set_status(self, id: str, status: str, body: bytes) -> None:
        """Change a response that goes on. Raises EndedError, and ValueError for a status that ends."""
        if status in ENDS:
            raise ValueError(f"{status!r} ends a response: finish it")

        def work(connection: Connection) -> None:
            row = self._mine(connection, id)
            kept = self._vault.seal(body)
            grown = size_of(kept) - size_of(row.body)
            connection.execute(
                update(responses)
                .where(responses.c.id == id)
                .values(status=status, body=kept, size=responses.c.size + grown)
            )

        await self._own(id, work)

    async def finish(
        self, id: str, status: str, body: bytes, *, output: Sequence[Item] = (), events: Sequence[Event] = ()
    ) -> None:
        """End a response: its last events, its output, and its place in its conversation, all or none.

        A conversation that has been deleted meanwhile stays so. Raises EndedError, ValueError for a status that does
        not end, and StoreError: then its lease is no longer renewed, so that it is given up in time.
        """
        if status not in ENDS:
            raise ValueError(f"{status!r} ends no response")

        def work(connection: Connection) -> None:
            row = self._mine(connection, id)
            self._append(connection, id, events)
            self._end(connection, row, status, body, tuple(output))

        await self._own_last(id, work)

    async def give_up(self, id: str, ending: Ending) -> None:
        """End a response of this worker's as :meth:`fail_abandoned` ends those of dead ones. Raises EndedError."""
        await self._own_last(id, lambda connection: self._fail(connection, self._mine(connection, id), ending))

    async def events_after(
        self, id: str, owner: str, sequence_number: int = -1, *, limit: int = 1000
    ) -> Progress | None:
        """Return where a response of the owner's is, with up to ``limit`` of the events after a number; None if it is
        not there, or was not begun in the background."""
        if not can_be_id(id):
            return None
        event = response_events.c

        def work(connection: Connection) -> Progress | None:
            # The state first: if it has ended, every event was there before.
            row = connection.execute(named(id, owner)).one_or_none()
            if row is None or row.worker is None:
                return None
            query = select(event.sequence_number, event.event).where(
                event.response_id == id, event.sequence_number > sequence_number
            )
            found = connection.execute(query.order_by(event.sequence_number).limit(limit + 1)).all()
            return Progress(
                status=row.status,
                body=self._vault.open(row.body),
                events=tuple((one.sequence_number, self._vault.open(one.event)) for one in found[:limit]),
                has_more=len(found) > limit,
                ended=row.ended_at is not None,
                abandoned=row.ended_at is None and row.lease_until <= self._now(connection) and id not in self._running,
                cancel_requested=row.cancel_requested_at is not None,
            )

        return await self._database.aread(work)

    async def request_cancel(self, id: str, owner: str) -> bool | None:
        """Ask whoever works on a response to stop. Returns whether it still goes on; None if it is not there."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> bool | None:
            row = connection.execute(named(id, owner).with_for_update()).one_or_none()
            if row is None or row.worker is None:
                return None
            if row.ended_at is None and row.cancel_requested_at is None:
                asked_at = self._now(connection)
                connection.execute(update(responses).where(responses.c.id == id).values(cancel_requested_at=asked_at))
            return row.ended_at is None

        return await self._database.awrite(work)

    async def to_cancel(self) -> frozenset[str]:
        """Return which of those that this worker has begun somebody asked to cancel, or deleted."""
        running = frozenset(self._running)
        row = responses.c
        goes_on = select(row.id).where(self._is_mine(), row.cancel_requested_at.is_(None))
        left = await self._database.aread(lambda connection: set(connection.execute(goes_on).scalars()))
        return running - left

    async def fail_abandoned(self, ending: Ending, *, limit: int = 100) -> list[str]:
        """End as ``failed`` up to ``limit`` responses whose workers' leases have run out, and return their ids.

        Of several proxies that do this at once, each response is ended by one.
        """
        row, running = responses.c, tuple(self._running)

        def work(connection: Connection) -> list[str]:
            given_up = row.worker.is_not(None) & row.ended_at.is_(None) & (row.lease_until <= self._now(connection))
            query = select(responses).where(given_up, row.id.not_in(running)).order_by(row.lease_until).limit(limit)
            found = connection.execute(query.with_for_update(skip_locked=True)).all()
            for one in found:
                self._fail(connection, one, ending)
            return [one.id for one in found]

        return await self._database.awrite(work)

    async def renew(self) -> None:
        """Say that what this worker has begun still goes on."""
        running = tuple(self._running)
        if not running:
            return

        def work(connection: Connection) -> None:
            until = self._now(connection) + self._lease_s
            mine = self._is_mine() & responses.c.id.in_(running)
            connection.execute(update(responses).where(mine).values(lease_until=until))

        await self._database.awrite(work)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self.renew()
            except StoreError as error:
                log.warning("background responses may be given up: %s", error)

    async def _own[T](self, id: str, work: Callable[[Connection], T]) -> T:
        """Do work on a response of this worker's; if it is that no longer, no longer say that it goes on."""
        try:
            return await self._database.awrite(work)
        except EndedError:
            self._running.discard(id)
            raise

    async def _own_last(self, id: str, work: Callable[[Connection], None]) -> None:
        """Do the last work on a response of this worker's. Done or not, no longer say that it goes on."""
        try:
            await self._database.awrite(work)
        finally:
            self._running.discard(id)

    def _is_mine(self) -> ColumnElement[bool]:
        row = responses.c
        return (row.worker == self._worker) & row.ended_at.is_(None) & row.hidden_at.is_(None)

    def _mine(self, connection: Connection, id: str) -> Row[Any]:
        query = select(responses).where(responses.c.id == id, self._is_mine()).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise EndedError(f"the response {id} is no longer this worker's")
        return row

    def _append(self, connection: Connection, id: str, events: Sequence[Event]) -> None:
        if not events:
            return
        kept = [(number, self._vault.seal(event)) for number, event in events]
        connection.execute(
            insert_into(connection, response_events).on_conflict_do_nothing(),
            [{"response_id": id, "sequence_number": number, "event": text} for number, text in kept],
        )
        grown = size_of(*(text for _, text in kept))
        connection.execute(update(responses).where(responses.c.id == id).values(size=responses.c.size + grown))

    def _fail(self, connection: Connection, row: Row[Any], ending: Ending) -> None:
        event = response_events.c
        last = select(func.max(event.sequence_number)).where(event.response_id == row.id)
        number = connection.execute(last).scalar_one()
        body, events = ending(self._vault.open(row.body), 0 if number is None else number + 1)
        self._append(connection, row.id, events)
        self._end(connection, row, "failed", body, ())

    def _end(self, connection: Connection, row: Row[Any], status: str, body: bytes, output: tuple[Item, ...]) -> None:
        now = self._now(connection)
        asked: list[Item] = self._vault.unpack(row.own_items)
        kept, items = self._vault.seal(body), self._vault.pack([*asked, *output])
        begins = row.conversation_from
        if row.conversation_id is not None and status in ENTERS:
            try:
                begins = enter(connection, self._vault, row.conversation_id, row.owner, [*asked, *output], now)
            except NoConversationError:
                log.info("the conversation of the response %s was deleted before it ended", row.id)
        event = response_events.c
        in_events = select(func.coalesce(func.sum(octets(connection, event.event)), 0)).where(
            event.response_id == row.id
        )
        connection.execute(
            update(responses)
            .where(responses.c.id == row.id)
            .values(
                status=status,
                body=kept,
                own_items=items,
                length=row.length + len(output),
                size=in_events.scalar_subquery() + size_of(kept, items, row.earlier),
                conversation_from=begins,
                ended_at=now,
                lease_until=None,
            )
        )
