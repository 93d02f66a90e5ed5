"""Sessions: an app's chat messages, stored under an id that the app chooses, so that it need not send them again.

One request at a time answers a session, in the order of the requests (:meth:`Sessions.hold`). In addition, messages are
added only to the version of the session that was read. So a request whose lease ran out cannot spoil a session.

A session that was not used for ``idle_s`` seconds no longer exists, even if its rows are deleted later.
"""

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, true, update

from storage.base import Clock, ConflictError, Item, Store, can_be_id, check_ids, size_of
from storage.database import Database, insert_into
from storage.encryption import Encryption
from storage.lease_renewal import LEASE_S
from storage.leases import POLL_S, Hold, Leases
from storage.pagination import Page, UnknownCursorError, first_of
from storage.tables import session_messages, sessions

IDLE_S = 3600.0

NEW = ""
"""The version of a session that does not exist."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session's messages, and their version."""

    messages: tuple[Item, ...]
    version: str


@dataclass(frozen=True, slots=True)
class SessionStats:
    """A session's size and times. Times are Unix seconds. ``tokens`` is the sum over all its answers."""

    id: str
    owner: str
    created_at: float
    used_at: float
    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over many sessions."""

    sessions: int
    messages: int
    tokens: int


class Sessions(Store):
    """The sessions in a database. With ``idle_s`` None they never expire."""

    def __init__(
        self,
        database: Database,
        encryption: Encryption | None = None,
        *,
        clock: Clock | None = None,
        idle_s: float | None = IDLE_S,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
    ) -> None:
        super().__init__(database, encryption, clock=clock)
        self._idle_s = idle_s
        self._leases = Leases(database, clock=clock, lease_s=lease_s, poll_s=poll_s)

    @contextlib.asynccontextmanager
    async def hold(self, owner: str, id: str, *, wait_s: float) -> AsyncIterator[Hold]:
        """Wait for exclusive use of a session, which need not exist yet. Raises BusyError after ``wait_s`` seconds."""
        check_ids(owner, id)
        digest = hashlib.sha256(f"{len(owner)} {owner} {id}".encode()).hexdigest()
        async with self._leases.hold(f"session {digest}", wait_s=wait_s) as hold:
            yield hold

    async def load(self, owner: str, id: str) -> Session:
        """Return a session and note its use. If there is none, return an empty one with the version ``NEW``."""
        check_ids(owner, id)

        def work(connection: Connection) -> Session:
            now = self._now(connection)
            used = update(sessions).where(_named(owner, id), self._alive(now)).values(used_at=now)
            row = connection.execute(used.returning(sessions)).one_or_none()
            if row is None:
                return Session((), NEW)
            message = session_messages.c
            query = select(message.message).where(message.session_key == row.key).order_by(message.position)
            return Session(tuple(map(self._vault.unpack, connection.execute(query).scalars())), _version(row))

        return await self._database.awrite(work)

    async def append(self, owner: str, id: str, messages: Sequence[Item], version: str, *, tokens: int = 0) -> str:
        """Add all messages or none to a session that still has this version, and return its new version.

        Raises ConflictError if the version has changed.
        """
        check_ids(owner, id)

        def work(connection: Connection) -> str:
            now = self._now(connection)
            row = connection.execute(select(sessions).where(_named(owner, id)).with_for_update()).one_or_none()
            if row is not None and not _lives(row, self._idle_s, now):
                connection.execute(delete(sessions).where(sessions.c.key == row.key))
                row = None
            if row is None and version == NEW:
                row = _make(connection, owner, id, now)
            elif row is not None and version != _version(row):
                row = None
            if row is None:
                raise ConflictError("the session has changed since it was read")
            return self._grow(connection, row, messages, tokens, now)

        return await self._database.awrite(work)

    async def list(self, owner: str | None = None, *, after: str | None = None, limit: int = 100) -> Page[SessionStats]:
        """Return a page of sessions, the last used first. Without an owner, those of all. ``after`` needs an owner.

        Raises UnknownCursorError if there is no session with the id ``after``.
        """
        row = sessions.c

        def work(connection: Connection) -> Page[SessionStats]:
            query = select(sessions).where(self._alive(self._now(connection)))
            if owner is not None:
                query = query.where(row.owner == owner)
            if after is not None:
                begin = _find(connection, owner, after)
                if begin is None:
                    raise UnknownCursorError(after)
                same = (row.used_at == begin.used_at) & (row.key > begin.key)
                query = query.where((row.used_at < begin.used_at) | same)
            found = connection.execute(query.order_by(row.used_at.desc(), row.key).limit(limit + 1)).all()
            return first_of(list(map(_stats, found)), limit)

        return await self._database.aread(work)

    async def stats(self, owner: str, id: str) -> SessionStats | None:
        """Return the size and times of a session, None if there is none."""

        def work(connection: Connection) -> SessionStats | None:
            row = _find(connection, owner, id)
            return _stats(row) if row is not None and _lives(row, self._idle_s, self._now(connection)) else None

        return await self._database.aread(work)

    async def totals(self, owner: str | None = None) -> Totals:
        """Return the sums over an owner's sessions, or over all."""
        row = sessions.c

        def work(connection: Connection) -> Totals:
            query = select(func.count(), func.sum(row.messages), func.sum(row.tokens))
            query = query.where(self._alive(self._now(connection)))
            found = connection.execute(query if owner is None else query.where(row.owner == owner)).one()
            return Totals(*(int(one or 0) for one in found))

        return await self._database.aread(work)

    async def delete(self, owner: str, id: str) -> bool:
        """Delete a session. Returns whether there was one."""
        if not (can_be_id(owner) and can_be_id(id)):
            return False

        def work(connection: Connection) -> bool:
            row = connection.execute(delete(sessions).where(_named(owner, id)).returning(sessions)).one_or_none()
            return row is not None and _lives(row, self._idle_s, self._now(connection))

        return await self._database.awrite(work)

    def _grow(self, connection: Connection, row: Row[Any], messages: Sequence[Item], tokens: int, now: float) -> str:
        kept = list(map(self._vault.pack, messages))
        if kept:
            connection.execute(
                insert(session_messages),
                [
                    {"session_key": row.key, "position": position, "message": text}
                    for position, text in enumerate(kept, start=row.messages)
                ],
            )
        grown = update(sessions).where(sessions.c.key == row.key)
        grown = grown.values(
            used_at=now,
            version=row.version + 1,
            messages=row.messages + len(kept),
            tokens=row.tokens + tokens,
            size=row.size + size_of(*kept),
        )
        return _version(connection.execute(grown.returning(sessions)).one())

    def _alive(self, now: float) -> ColumnElement[bool]:
        return true() if self._idle_s is None else sessions.c.used_at > now - self._idle_s


def _make(connection: Connection, owner: str, id: str, now: float) -> Row[Any] | None:
    """Insert an empty session and return its row; None if another request has just inserted it."""
    row = {"key": secrets.token_hex(8), "owner": owner, "id": id, "created_at": now, "used_at": now}
    counts = {"version": 0, "messages": 0, "tokens": 0, "size": 0}
    inserting = insert_into(connection, sessions).values(**row, **counts).on_conflict_do_nothing()
    return connection.execute(inserting.returning(sessions)).one_or_none()


def _named(owner: str, id: str) -> ColumnElement[bool]:
    return (sessions.c.owner == owner) & (sessions.c.id == id)


def _find(connection: Connection, owner: str | None, id: str) -> Row[Any] | None:
    if owner is None or not (can_be_id(owner) and can_be_id(id)):
        return None
    return connection.execute(select(sessions).where(_named(owner, id))).one_or_none()


def _lives(row: Row[Any], idle_s: float | None, now: float) -> bool:
    return idle_s is None or bool(row.used_at > now - idle_s)


def _version(row: Row[Any]) -> str:
    return f"{row.key}.{row.version}"


def _stats(row: Row[Any]) -> SessionStats:
    return SessionStats(row.id, row.owner, row.created_at, row.used_at, row.messages, row.tokens)
