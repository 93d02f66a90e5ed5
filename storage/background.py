"""Responses with ``background: true``: their state, their events so far, and which proxy answers them.

Theory of operation
-------------------
The proxy that takes such a request answers it under a lease (:mod:`storage.lease_renewal`). Any proxy can read the
state and the events from the database. If a lease runs out, its proxy is dead or out of reach. Another proxy then ends
the response as ``failed``. If the first proxy comes back, its writes raise :class:`EndedError`. A proxy never ends a
response that it answers itself, even if the clock has jumped.

A response ends once. To end it, a proxy locks its row (on SQLite: takes the one write lock) and checks that it has not
ended. If one proxy completes a response while another gives it up, the first one succeeds and the other gets an error.

Source: ``background: true`` of ``/v1/responses``, its ``cancel``, and ``stream=true&starting_after=`` of its ``GET``.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from storage.base import Clock, Item, can_be_id, octets, size_of
from storage.database import Database, insert_into
from storage.encryption import Encryption
from storage.lease_renewal import LEASE_S, LeasedRows, LeasedStore
from storage.responses import Lease, NoConversationError, StoredResponse, check, enter, insert_response, named
from storage.tables import response_events, responses

# ENDS are the final statuses. With a status in ENTERS, the response is added to its conversation.
ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})
ENTERS = frozenset({"completed", "incomplete"})

type Event = tuple[int, bytes]
"""A sequence number and the event's JSON."""

type Ending = Callable[[bytes, int], tuple[bytes, Sequence[Event]]]
"""Turns the body of a response whose proxy died into a failed one. Gets the body and the next sequence number, and
returns the new body and the last events."""

log = logging.getLogger(__name__)


class EndedError(Exception):
    """The response has ended, was deleted, or was ended by another proxy: stop answering it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a response. ``events`` are those after a sequence number, in order. ``has_more``: more are stored.

    ``ended``: no more events will come. ``abandoned``: it has not ended, and no live proxy answers it.
    """

    status: str
    body: bytes
    events: tuple[Event, ...]
    has_more: bool
    ended: bool
    abandoned: bool
    cancel_requested: bool


class Background(LeasedStore):
    """The background responses. Use it in an ``async with``: this proxy's leases are renewed until the block ends.

    ``worker`` is the id of this proxy. Without it a random one is made.
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
        self.running = LeasedRows(
            database,
            responses,
            now=self._now,
            lease_s=lease_s,
            warning="other proxies may end background responses that this one still answers",
            mine=self._is_mine(),
        )

    async def begin(self, response: StoredResponse) -> None:
        """Store a response that this proxy will answer: without output, ``queued`` or ``in_progress``.

        Raises the same errors as :meth:`storage.responses.Responses.put`. If the caller is cancelled, the response may
        have been stored; then another proxy ends it when its lease runs out.
        """
        check(response)
        if response.output or response.status in ENDS:
            raise ValueError("a new background response must be queued or in_progress, without output")

        def work(connection: Connection) -> None:
            now = self._now(connection)
            lease = Lease(self._worker, now + self._lease_s)
            insert_response(connection, self._vault, response, now, lease=lease)

        await self._database.awrite(work)
        self.running.ids.add(response.id)

    async def append_events(self, id: str, events: Sequence[Event]) -> bool:
        """Add all events or none. Return whether a client has asked to cancel. Raises EndedError.

        Events with sequence numbers that are already stored are skipped.
        """

        def work(connection: Connection) -> bool:
            row = self._mine(connection, id)
            self._append(connection, id, events)
            return row.cancel_requested_at is not None

        return await self._own(id, work)

    async def set_status(self, id: str, status: str, body: bytes) -> None:
        """Change the status of a response that has not ended. Raises EndedError, and ValueError for a final status."""
        if status in ENDS:
            raise ValueError(f"{status!r} is a final status: call finish")

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
        """End a response: write its last events and its output, and add both to its conversation, all or none.

        A conversation that was deleted meanwhile stays deleted. Raises EndedError, ValueError for a status that is not
        final, and StoreError. After a StoreError the lease is not renewed, so another proxy ends the response.
        """
        if status not in ENDS:
            raise ValueError(f"{status!r} is not a final status")

        def work(connection: Connection) -> None:
            row = self._mine(connection, id)
            self._append(connection, id, events)
            self._end(connection, row, status, body, tuple(output))

        await self._own_last(id, work)

    async def give_up(self, id: str, ending: Ending) -> None:
        """End a response of this proxy as :meth:`fail_abandoned` ends those of dead proxies. Raises EndedError."""
        await self._own_last(id, lambda connection: self._fail(connection, self._mine(connection, id), ending))

    async def events_after(
        self, id: str, owner: str, sequence_number: int = -1, *, limit: int = 1000
    ) -> Progress | None:
        """Return the state of an owner's response, with up to ``limit`` events after ``sequence_number``.

        None if there is no such response, or if it is not a background response.
        """
        if not can_be_id(id):
            return None
        event = response_events.c

        def work(connection: Connection) -> Progress | None:
            # Read the state before the events. If it says that the response has ended, all events are stored.
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
                abandoned=row.ended_at is None
                and row.lease_until <= self._now(connection)
                and id not in self.running.ids,
                cancel_requested=row.cancel_requested_at is not None,
            )

        return await self._database.aread(work)

    async def request_cancel(self, id: str, owner: str) -> bool | None:
        """Ask the proxy that answers a response to stop. Returns False if it has ended, None if there is none."""
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
        """Return the responses of this proxy that a client has cancelled or deleted."""
        running = frozenset(self.running.ids)
        row = responses.c
        goes_on = select(row.id).where(self._is_mine(), row.cancel_requested_at.is_(None))
        left = await self._database.aread(lambda connection: set(connection.execute(goes_on).scalars()))
        return running - left

    async def fail_abandoned(self, ending: Ending, *, limit: int = 100) -> list[str]:
        """End up to ``limit`` responses whose leases have run out as ``failed``, and return their ids.

        If several proxies do this at once, exactly one of them ends each response.
        """
        row, running = responses.c, tuple(self.running.ids)

        def work(connection: Connection) -> list[str]:
            given_up = row.worker.is_not(None) & row.ended_at.is_(None) & (row.lease_until <= self._now(connection))
            query = select(responses).where(given_up, row.id.not_in(running)).order_by(row.lease_until).limit(limit)
            found = connection.execute(query.with_for_update(skip_locked=True)).all()
            for one in found:
                self._fail(connection, one, ending)
            return [one.id for one in found]

        return await self._database.awrite(work)

    async def _own[T](self, id: str, work: Callable[[Connection], T]) -> T:
        """Run a transaction on a response of this proxy. If another proxy has ended it, stop renewing its lease."""
        try:
            return await self._database.awrite(work)
        except EndedError:
            self.running.ids.discard(id)
            raise

    async def _own_last(self, id: str, work: Callable[[Connection], None]) -> None:
        """Run the last transaction on a response of this proxy, and stop renewing its lease even if that fails."""
        try:
            await self._database.awrite(work)
        finally:
            self.running.ids.discard(id)

    def _is_mine(self) -> ColumnElement[bool]:
        row = responses.c
        return (row.worker == self._worker) & row.ended_at.is_(None) & row.hidden_at.is_(None)

    def _mine(self, connection: Connection, id: str) -> Row[Any]:
        query = select(responses).where(responses.c.id == id, self._is_mine()).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise EndedError(f"the response {id} has ended, or is no longer answered by this proxy")
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
