"""Batches: many requests that run when no other request waits, on any of the proxies that share the database.

Theory of operation
-------------------
A batch goes through OpenAI's states. A proxy takes care of it under a lease (:mod:`storage.lease_renewal`) in two of
them: while it is ``validating``, when its lines are read from the input file into rows, and when no line is left to
run, to write the results to files. If that proxy dies, another one begins that step anew.

Between the two, each line has a lease of its own. A proxy claims a waiting line, answers it, and stores the result. If
it dies, another one claims the line after the lease and answers it again. A result is stored only by the proxy that has
the lease, so a line has one result. A proxy never claims what it works on itself, even if it was too slow to renew the
lease. A line whose proxies died :data:`MAX_ATTEMPTS` times fails.

Rows are claimed with ``FOR UPDATE SKIP LOCKED``. On SQLite there is one writer at a time. Batches are served in turns,
so a long one does not keep the others waiting.

Source: ``/v1/batches`` of OpenAI's API.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    Select,
    Text,
    and_,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from storage.base import Clock, Item, Store, can_be_id, check_ids, octets
from storage.database import Database
from storage.encryption import Encryption
from storage.files import Files, new_id
from storage.lease_renewal import LEASE_S
from storage.pagination import Page, UnknownCursorError, first_of
from storage.tables import ENDS, batch_lines, batches, files

log = logging.getLogger(__name__)

WINDOW_S = 86_400.0
"""How long a batch may take. OpenAI has this one window."""

MAX_ATTEMPTS = 3
UNREADABLE_S = 60.0
"""For how long a batch or a line is not claimed after it could not be read: it may be sealed with another key."""

MAX_ACTIVE = 100
"""How many batches of an owner may be under way."""

RESULT_BYTES = 4 * 1024 * 1024
"""How many bytes the results that are read at once may have. A larger one is read alone."""


class TooManyError(Exception):
    """The owner has as many batches under way as are allowed."""


class LostError(Exception):
    """The lease has run out, and another proxy may work on the row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch. Times are in Unix seconds. ``times`` has the time of each change of the status, by its OpenAI name.

    ``client_id`` is the id of the key that pays; None if no keys are required. ``client`` names the app
    (:class:`translate.turn.Turn`). ``output_expires_s``: how long the files with the results are kept.
    """

    id: str
    owner: str
    client_id: str | None
    created_at: float
    expires_at: float
    status: str
    endpoint: str
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    total: int
    completed: int
    failed: int
    times: Mapping[str, float]
    client: str = ""
    metadata: Mapping[str, Any] | None = None
    output_expires_s: float | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    model: str | None = None
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line that this proxy answers. ``request`` has ``custom_id`` and ``body``."""

    batch: Batch
    number: int
    attempts: int
    request: Item


@dataclass(slots=True)
class Held:
    """What this proxy has leases on. They are renewed by :meth:`Batches.renew`."""

    batches: set[str] = field(default_factory=set)
    lines: set[tuple[str, int]] = field(default_factory=set)


class Batches(Store):
    """The batches in a database. ``worker`` is the id of this proxy. Without it a random one is made.

    ``stored``: the files, whose quota holds for batches too.
    """

    def __init__(
        self,
        database: Database,
        encryption: Encryption | None = None,
        *,
        clock: Clock | None = None,
        worker: str | None = None,
        lease_s: float = LEASE_S,
        stored: Files | None = None,
    ) -> None:
        super().__init__(database, encryption, clock=clock)
        self._files = stored or Files(database, encryption, clock=clock)
        self._worker = worker or secrets.token_hex(16)
        self.lease_s = lease_s
        self.held = Held()
        self.changed = asyncio.Event()
        """Set when a batch was created or cancelled by this proxy, so that it need not wait for its next look."""

    # What the owner asks for.

    async def create(
        self,
        owner: str,
        *,
        endpoint: str,
        input_file_id: str,
        size: int,
        client_id: str | None,
        client: str,
        metadata: Mapping[str, Any] | None = None,
        output_expires_s: float | None = None,
    ) -> Batch:
        """Store a new batch, which is to be validated. Raises TooManyError, and QuotaError if there is no room.

        ``size`` is the size of the input file in bytes. The lines are stored beside it until the batch ends.
        """
        check_ids(owner, endpoint, input_file_id)
        about = {"client": client, "metadata": metadata, "output_expires_s": output_expires_s}
        id, kept, row = new_id("batch"), self._vault.pack(about), batches.c

        def work(connection: Connection) -> Batch:
            under_way = select(func.count()).where(row.owner == owner, row.status.not_in(ENDS))
            if connection.execute(under_way).scalar_one() >= MAX_ACTIVE:
                raise TooManyError(f"There are {MAX_ACTIVE} batches of this key under way. Wait until one has ended.")
            self._files.check_room(connection, owner, size, is_file=False)
            now = self._now(connection)
            connection.execute(
                insert(batches).values(
                    bytes=size,
                    id=id,
                    owner=owner,
                    client_id=client_id,
                    created_at=now,
                    expires_at=now + WINDOW_S,
                    status="validating",
                    endpoint=endpoint,
                    input_file_id=input_file_id,
                    total=0,
                    completed=0,
                    failed=0,
                    served_at=0.0,
                    not_before=0.0,
                    lease_until=0.0,
                    times="{}",
                    about=kept,
                )
            )
            return self._batch(connection.execute(_named(id, owner)).one())

        batch = await self._database.awrite(work)
        self.changed.set()
        return batch

    async def get(self, id: str, owner: str) -> Batch | None:
        """Return a batch. None if it does not exist or belongs to another owner."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Batch | None:
            row = connection.execute(_named(id, owner)).one_or_none()
            return None if row is None else self._batch(row)

        return await self._database.aread(work)

    async def list(self, owner: str, *, after: str | None = None, limit: int = 20) -> Page[Batch]:
        """Return one page of the owner's batches, the newest first. Raises UnknownCursorError."""
        row = batches.c

        def work(connection: Connection) -> Page[Batch]:
            query = select(batches).where(row.owner == owner).order_by(row.created_at.desc(), row.id.desc())
            if after is not None:
                begin = connection.execute(_named(after, owner)).one_or_none() if can_be_id(after) else None
                if begin is None:
                    raise UnknownCursorError(after)
                mark = tuple_(literal(begin.created_at, Double), literal(begin.id, Text))
                query = query.where(tuple_(row.created_at, row.id) < mark)
            found = connection.execute(query.limit(limit + 1)).all()
            return first_of([self._batch(one) for one in found], limit)

        return await self._database.aread(work)

    async def cancel(self, id: str, owner: str) -> Batch | None:
        """Let no more lines of a batch begin. Return it as it is then; an ended one is unchanged."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Batch | None:
            row = connection.execute(_named(id, owner).with_for_update()).one_or_none()
            if row is None:
                return None
            if row.status in ("validating", "in_progress"):
                self._set(connection, row, "cancelling")
            return self._batch(connection.execute(_named(id, owner)).one())

        batch = await self._database.awrite(work)
        self.changed.set()
        return batch

    # What proxies do with batches.

    async def any_open(self) -> bool:
        """Whether any batch is under way. This only reads, so that idle proxies do not wait for each other."""
        query = select(batches.c.id).where(batches.c.status.not_in(ENDS)).limit(1)
        return await self._database.aread(lambda connection: connection.execute(query).first() is not None)

    async def claim(self) -> Batch | None:
        """Take the lease of a batch that is to be validated or ended. Return None if there is none.

        A batch that cannot be read is not claimed again for :data:`UNREADABLE_S` seconds.
        """
        row, line = batches.c, batch_lines.c

        def work(connection: Connection) -> Batch | str | None:
            now = self._now(connection)
            is_open = and_(line.status == "running", or_(line.lease_until > now, self._is_held()))
            runs = select(line.number).where(line.batch_id == row.id, is_open).exists()
            waits = select(line.number).where(line.batch_id == row.id, line.status.in_(("waiting", "running"))).exists()
            due = or_(
                row.status == "validating",
                and_(row.status.in_(("cancelling", "finalizing")), ~runs),
                and_(row.status == "in_progress", or_(~waits, and_(row.expires_at <= now, ~runs))),
            )
            mine = row.id.in_(self.held.batches)
            # Batches that failed before come after new ones, so they do not keep those waiting.
            ordering = row.lease_until, row.created_at
            query = select(batches).where(row.lease_until <= now, ~mine, due).order_by(*ordering).limit(1)
            found = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
            if found is None:
                return None
            leased: dict[str, Any] = {"worker": self._worker, "lease_until": now + self.lease_s}
            try:
                claimed: Batch | str = self._batch(found)
            except Exception as error:
                claimed = f"{found.id} cannot be read: {error}"
                leased = {"lease_until": now + UNREADABLE_S}
            connection.execute(update(batches).where(row.id == found.id).values(leased))
            return claimed

        batch = await self._readable(work)
        if batch is not None:
            self.held.batches.add(batch.id)
        return batch

    async def _readable[T](self, work: Callable[[Connection], T | str | None]) -> T | None:
        """Claim something until it can be read. A text that ``work`` returns says what cannot, and is logged."""
        while isinstance(found := await self._database.awrite(work), str):
            log.warning("batches: %s", found)
        return found

    async def add_lines(self, batch: Batch, first: int, requests: Sequence[Item]) -> None:
        """Add lines to a batch that is validated here, numbered from ``first``. Raises LostError.

        With ``first`` 0, lines of an earlier try are deleted.
        """

        def work(connection: Connection) -> None:
            self._mine(connection, batch.id)
            if first == 0:
                connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == batch.id))
            rows = [
                {
                    "batch_id": batch.id,
                    "number": number,
                    "status": "waiting",
                    "attempts": 0,
                    "lease_until": 0.0,
                    "request": self._vault.pack(request),
                }
                for number, request in enumerate(requests, start=first)
            ]
            if rows:
                connection.execute(insert(batch_lines), rows)

        await self._database.awrite(work)

    async def begin(self, batch: Batch, total: int, model: str | None) -> None:
        """Let the lines of a validated batch run. Raises LostError."""

        def work(connection: Connection) -> None:
            row = self._mine(connection, batch.id)
            changes = {"total": total, "about": self._about(row, model=model)}
            if row.status == "validating":
                self._set(connection, row, "in_progress", **changes)
            self._let_go(connection, row.id)

        await self._own(batch, work)

    async def fail(self, batch: Batch, errors: Sequence[Mapping[str, Any]]) -> None:
        """End a batch whose input is not valid. Raises LostError."""

        def work(connection: Connection) -> None:
            row = self._mine(connection, batch.id)
            connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == row.id))
            self._set(connection, row, "failed", about=self._about(row, errors=list(errors)))
            self._let_go(connection, row.id)

        await self._own(batch, work)

    async def finalize(self, batch: Batch) -> Batch:
        """Say that the results are being written, unless the batch ends in another way. Raises LostError."""

        def work(connection: Connection) -> Batch:
            row = self._mine(connection, batch.id)
            if row.status == "in_progress" and row.expires_at > self._now(connection):
                self._set(connection, row, "finalizing")
            return self._batch(connection.execute(_named(row.id, row.owner)).one())

        return await self._database.awrite(work)

    async def results(self, batch: Batch, after: int, limit: int) -> Sequence[tuple[int, str, int, Item]]:
        """Return some lines in order: the number, the status, and the result with its size in bytes.

        A line that is not done has its request instead of a result. There are up to ``limit`` lines, or fewer if these
        have :data:`RESULT_BYTES`.
        """
        line = batch_lines.c
        kept, rest = func.coalesce(line.result, line.request), and_(line.batch_id == batch.id, line.number > after)

        def work(connection: Connection) -> Sequence[tuple[int, str, int, Item]]:
            sizes: dict[int, int] = {}
            total = 0
            query = select(line.number, octets(connection, kept)).where(rest).order_by(line.number).limit(limit)
            for number, size in connection.execute(query):
                total += int(size)
                if sizes and total > RESULT_BYTES:
                    break
                sizes[int(number)] = int(size)
            if not sizes:
                return []
            some = select(line.number, line.status, kept).where(rest, line.number <= max(sizes)).order_by(line.number)
            found = connection.execute(some).all()
            return [
                (int(number), status, sizes[int(number)], self._vault.unpack(text)) for number, status, text in found
            ]

        return await self._database.aread(work)

    async def end(
        self,
        batch: Batch,
        status: str,
        *,
        output: tuple[str, int] | None,
        errors: tuple[str, int] | None,
        failed: int,
        usage: Mapping[str, Any] | None,
    ) -> None:
        """End a batch: its files become ready, and its lines are deleted, all or nothing. Raises LostError.

        ``output`` and ``errors`` are the ids of the files and their sizes in bytes. None: there is none.
        """

        def work(connection: Connection) -> None:
            row = self._mine(connection, batch.id)
            for id, size in filter(None, (output, errors)):
                connection.execute(update(files).where(files.c.id == id).values(ready=1, bytes=size))
            self._set(
                connection,
                row,
                status,
                output_file_id=output[0] if output else None,
                error_file_id=errors[0] if errors else None,
                failed=failed,
                about=self._about(row, usage=usage),
            )
            connection.execute(delete(batch_lines).where(batch_lines.c.batch_id == row.id))
            self._let_go(connection, row.id)

        await self._own(batch, work)

    async def leave(self, batch: Batch, *, after_s: float = 0.0) -> None:
        """Give up the lease of a batch. Any proxy can take it after ``after_s`` seconds."""
        self.held.batches.discard(batch.id)
        row = batches.c
        mine = update(batches).where(row.id == batch.id, row.worker == self._worker)

        def work(connection: Connection) -> None:
            until = self._now(connection) + after_s if after_s > 0 else 0.0
            connection.execute(mine.values(worker=None, lease_until=until))

        await self._database.awrite(work)

    # What proxies do with lines.

    async def claim_line(self) -> Line | None:
        """Take the lease of a line that is to be answered. Return None if there is none.

        If a line or its batch cannot be read, no line of the batch is claimed for :data:`UNREADABLE_S` seconds.
        """
        row, line = batches.c, batch_lines.c

        def work(connection: Connection) -> Line | str | None:
            now = self._now(connection)
            lapsed = and_(line.status == "running", line.lease_until <= now, ~self._is_held())
            free = or_(line.status == "waiting", lapsed)
            may = and_(row.status == "in_progress", row.not_before <= now, row.expires_at > now)
            has = select(line.number).where(line.batch_id == row.id, free).exists()
            query = select(batches).where(may, has).order_by(row.served_at, row.id).limit(1)
            batch = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
            if batch is None:
                return None
            wanted = select(batch_lines).where(line.batch_id == batch.id, free).order_by(line.number).limit(1)
            found = connection.execute(wanted.with_for_update(skip_locked=True)).one_or_none()
            if found is None:
                return None
            changed = update(batches).where(row.id == batch.id)
            number, attempts = int(found.number), int(found.attempts) + 1
            try:
                claimed = Line(self._batch(batch), number, attempts, self._vault.unpack(found.request))
            except Exception as error:
                connection.execute(changed.values(not_before=now + UNREADABLE_S))
                return f"line {number} of {batch.id} cannot be read: {error}"
            connection.execute(changed.values(served_at=now))
            leased = {"status": "running", "worker": self._worker, "lease_until": now + self.lease_s}
            connection.execute(
                update(batch_lines)
                .where(line.batch_id == batch.id, line.number == found.number)
                .values(attempts=attempts, **leased)
            )
            return claimed

        claimed = await self._readable(work)
        if claimed is not None:
            self.held.lines.add((claimed.batch.id, claimed.number))
        return claimed

    async def finish_line(self, line: Line, result: Item, *, ok: bool) -> bool:
        """Store the result of a line. Return whether this proxy still had the lease."""
        status = "completed" if ok else "failed"

        def work(connection: Connection) -> bool:
            done = update(batch_lines).where(self._my_line(line))
            changed = connection.execute(done.values(status=status, result=self._vault.pack(result), worker=None))
            if not changed.rowcount:
                return False
            row = batches.c
            counted = {status: row[status] + 1}
            connection.execute(update(batches).where(row.id == line.batch.id).values(counted))
            return True

        self.held.lines.discard((line.batch.id, line.number))
        return await self._database.awrite(work)

    async def release_line(self, line: Line, *, after_s: float = 0.0, counts: bool = False) -> None:
        """Put a line back. The batch waits for ``after_s`` seconds. ``counts``: it counts as an attempt."""
        row = batches.c

        def work(connection: Connection) -> None:
            back = update(batch_lines).where(self._my_line(line))
            attempts = line.attempts if counts else line.attempts - 1
            connection.execute(back.values(status="waiting", attempts=attempts, worker=None, lease_until=0.0))
            if after_s > 0:
                until = self._now(connection) + after_s
                connection.execute(update(batches).where(row.id == line.batch.id).values(not_before=until))

        self.held.lines.discard((line.batch.id, line.number))
        await self._database.awrite(work)

    async def renew(self) -> None:
        """Move the leases of this proxy forward."""
        held, lines = tuple(self.held.batches), tuple(self.held.lines)
        if not held and not lines:
            return

        def work(connection: Connection) -> None:
            until = self._now(connection) + self.lease_s
            mine = (batches.c.worker == self._worker) & batches.c.id.in_(held)
            connection.execute(update(batches).where(mine).values(lease_until=until))
            line = batch_lines.c
            for id, number in lines:
                own = (line.batch_id == id) & (line.number == number) & (line.worker == self._worker)
                connection.execute(update(batch_lines).where(own).values(lease_until=until))

        await self._database.awrite(work)

    def _is_held(self) -> ColumnElement[bool]:
        """Return the condition that this proxy answers a line now, even if it was too slow to renew the lease."""
        line, lines = batch_lines.c, self.held.lines
        numbers = [and_(line.batch_id == id, line.number == number) for id, number in lines]
        return and_(line.worker == self._worker, or_(false(), *numbers))

    def _my_line(self, line: Line) -> ColumnElement[bool]:
        row = batch_lines.c
        return and_(
            row.batch_id == line.batch.id,
            row.number == line.number,
            row.status == "running",
            row.worker == self._worker,
            row.attempts == line.attempts,
        )

    async def _own(self, batch: Batch, work: Any) -> None:
        """Run the last transaction of this proxy on a batch, and stop renewing its lease even if that fails."""
        try:
            await self._database.awrite(work)
        finally:
            self.held.batches.discard(batch.id)

    def _mine(self, connection: Connection, id: str) -> Row[Any]:
        row = batches.c
        query = select(batches).where(row.id == id, row.worker == self._worker, row.status.not_in(ENDS))
        found = connection.execute(query.with_for_update()).one_or_none()
        if found is None:
            raise LostError(f"the batch {id} is no longer this proxy's")
        return found

    def _let_go(self, connection: Connection, id: str) -> None:
        connection.execute(update(batches).where(batches.c.id == id).values(worker=None, lease_until=0.0))

    def _set(self, connection: Connection, row: Row[Any], status: str, **changes: Any) -> None:
        times = {**json.loads(row.times), f"{status}_at": self._now(connection)}
        changed = update(batches).where(batches.c.id == row.id)
        connection.execute(changed.values(status=status, times=json.dumps(times), **changes))

    def _about(self, row: Row[Any], **more: Any) -> str:
        return self._vault.pack({**self._vault.unpack(row.about), **more})

    def _batch(self, row: Row[Any]) -> Batch:
        names = (
            *("id", "owner", "client_id", "created_at", "expires_at", "status", "endpoint", "input_file_id"),
            *("output_file_id", "error_file_id"),
        )
        counts: dict[str, Any] = {name: int(getattr(row, name)) for name in ("total", "completed", "failed")}
        own: dict[str, Any] = {name: getattr(row, name) for name in names}
        return Batch(**own, **counts, times=json.loads(row.times), **self._vault.unpack(row.about))


def _named(id: str, owner: str) -> Select[Any]:
    return select(batches).where(batches.c.id == id, batches.c.owner == owner)
