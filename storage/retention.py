"""Deletes old rows: what has expired, and the oldest rows of an owner who has too many.

A sweep is many short transactions, so nobody waits long for it. Several proxies can sweep at once: each skips the rows
that another one has locked. Responses that are still being answered are not deleted. Files are deleted when they
expire, and never because there are too many: a quota refuses new ones (:mod:`storage.files`).

OpenAI keeps responses for 30 days, and conversations until they are deleted
(https://platform.openai.com/docs/guides/conversation-state).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    case,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)

from storage import conversations as conversation_rows
from storage import responses as response_rows
from storage.base import Clock, Store, octets
from storage.database import Database
from storage.encryption import Encryption
from storage.files import UNFINISHED_S
from storage.files import forget as forget_files
from storage.leases import Leases
from storage.tables import (
    ENDS,
    batches,
    chat_completions,
    conversation_items,
    conversations,
    files,
    response_events,
    responses,
    session_messages,
    sessions,
    uploads,
)

DAY_S = 86_400.0
BATCH = 200
MAX_BATCHES = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds rows are stored, and how many rows. None: without limit.

    The time counts from creation for responses and chat completions, from the last use for conversations and sessions,
    and from the end of the response for the events of a background response. Batches are kept as long as responses.
    ``max_rows`` and ``max_bytes`` apply to each owner. ``max_rows`` counts only what is visible to the owner.
    ``max_bytes`` counts hidden rows too.
    """

    responses_s: float | None = 30 * DAY_S
    events_s: float | None = 3600.0
    conversations_s: float | None = None
    chat_completions_s: float | None = 30 * DAY_S
    sessions_idle_s: float | None = 3600.0
    max_rows: int | None = 10_000
    max_bytes: int | None = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if any(getattr(self, name) is not None and getattr(self, name) < 0 for name in self.__slots__):
            raise ValueError("a retention limit must be at least 0, or None")


@dataclass(slots=True)
class Swept:
    """How many rows were deleted. ``more``: the sweep stopped before all due rows were deleted."""

    responses: int = 0
    events_of: int = 0
    conversations: int = 0
    chat_completions: int = 0
    sessions: int = 0
    tickets: int = 0
    files: int = 0
    uploads: int = 0
    batches: int = 0
    more: bool = False


type Step = Callable[[Connection, float, Swept], int]
"""One part of a sweep. It processes one batch and returns how many rows it processed."""


class Retention(Store):
    """Deletes old rows. One transaction handles up to ``batch`` rows, one sweep up to ``max_batches`` batches."""

    def __init__(
        self,
        database: Database,
        limits: Limits | None = None,
        *,
        clock: Clock | None = None,
        batch: int = BATCH,
        max_batches: int = MAX_BATCHES,
    ) -> None:
        super().__init__(database, clock=clock)
        self._limits = limits or Limits()
        self._batch = batch
        self._max_batches = max_batches
        self._leases = Leases(database, clock=clock)

    async def sweep(self, now: float | None = None) -> Swept:
        """Delete all rows that are due at the time ``now`` (Unix seconds, by default the current time)."""
        if now is None:
            now = await self._database.aread(self._now)
        swept = Swept()
        left = self._max_batches
        for step in self._by_time():
            left = await self._batches(step, now, swept, left)
        for owner in await self._owners_with_too_much():
            left = await self._batches(self._of_owner(owner), now, swept, left)
        return swept

    async def _batches(self, step: Step, now: float, swept: Swept, left: int) -> int:
        """Repeat a step until it finds nothing more, or ``left`` batches are used. Return how many batches are left."""
        while left:
            left -= 1
            if not await self._database.awrite(lambda connection: step(connection, now, swept)):
                return left
        swept.more = True
        return 0

    async def check(self, encryption: Encryption) -> None:
        """Try to decrypt the newest row of each kind. Raises EncryptionKeyError if no key decrypts it."""
        latest = [
            (responses.c.own_items, responses.c.created_at),
            (conversations.c.metadata, conversations.c.used_at),
            (chat_completions.c.metadata, chat_completions.c.created_at),
            (files.c.about, files.c.created_at),
        ]
        items = [
            (conversation_items.c.item, conversation_items, conversations.c.used_at),
            (session_messages.c.message, session_messages, sessions.c.used_at),
        ]

        def work(connection: Connection) -> None:
            queries = [select(kept).order_by(at.desc()) for kept, at in latest]
            queries += [select(kept).join_from(table, at.table).order_by(at.desc()) for kept, table, at in items]
            for query in queries:
                kept = connection.execute(query.limit(1)).scalar_one_or_none()
                if kept is not None:
                    encryption.open(kept)

        await self._database.aread(work)

    def _by_time(self) -> Iterator[Step]:
        yield self._expired_responses
        yield self._expired_events
        yield self._unneeded_responses
        yield self._expired_conversations
        yield self._unneeded_conversations
        yield self._expired_chat_completions
        yield self._idle_sessions
        yield self._dead_tickets
        yield self._expired_files
        yield self._expired_uploads
        yield self._expired_batches

    def _expired_responses(self, connection: Connection, now: float, swept: Swept) -> int:
        row = responses.c
        due = _due(row.created_at, self._limits.responses_s, now)
        ids = self._take(connection, row.id, row.created_at, due & _can_go())
        return _forget_responses(connection, ids, now, swept)

    def _expired_events(self, connection: Connection, now: float, swept: Swept) -> int:
        row, event = responses.c, response_events.c
        has_events = select(event.response_id).where(event.response_id == row.id).exists()
        due = _due(row.ended_at, self._limits.events_s, now) & row.worker.is_not(None) & has_events
        ids = self._take(connection, row.id, row.ended_at, due)
        connection.execute(delete(response_events).where(event.response_id.in_(ids)))
        size = octets(connection, row.body, row.own_items, row.earlier)
        connection.execute(update(responses).where(row.id.in_(ids)).values(size=size))
        swept.events_of += len(ids)
        return len(ids)

    def _unneeded_responses(self, connection: Connection, now: float, swept: Swept) -> int:
        row, after = responses.c, responses.alias().c
        held = select(after.id).where(after.previous_id == row.id).exists()
        ids = self._take(connection, row.id, row.created_at, row.hidden_at.is_not(None) & ~held)
        return response_rows.forget_unneeded(connection, ids)

    def _expired_conversations(self, connection: Connection, now: float, swept: Swept) -> int:
        row = conversations.c
        due = _due(row.used_at, self._limits.conversations_s, now) & row.hidden_at.is_(None)
        return _forget_conversations(connection, self._take(connection, row.id, row.used_at, due), now, swept)

    def _unneeded_conversations(self, connection: Connection, now: float, swept: Swept) -> int:
        row = conversations.c
        held = select(responses.c.id).where(responses.c.conversation_id == row.id).exists()
        ids = self._take(connection, row.id, row.used_at, row.hidden_at.is_not(None) & ~held)
        return conversation_rows.forget_unneeded(connection, ids)

    def _expired_chat_completions(self, connection: Connection, now: float, swept: Swept) -> int:
        row = chat_completions.c
        due = _due(row.created_at, self._limits.chat_completions_s, now)
        return _forget_chats(connection, self._take(connection, row.id, row.created_at, due), now, swept)

    def _idle_sessions(self, connection: Connection, now: float, swept: Swept) -> int:
        row = sessions.c
        due = _due(row.used_at, self._limits.sessions_idle_s, now)
        return _forget_sessions(connection, self._take(connection, row.key, row.used_at, due), now, swept)

    def _dead_tickets(self, connection: Connection, now: float, swept: Swept) -> int:
        dead = self._leases.forget_dead(connection, now, self._batch)
        swept.tickets += dead
        return dead

    def _expired_files(self, connection: Connection, now: float, swept: Swept) -> int:
        row = files.c
        unfinished = (row.ready == 0) & (row.created_at <= now - UNFINISHED_S)
        ids = self._take(connection, row.id, row.created_at, (row.expires_at <= now) | unfinished)
        forget_files(connection, ids)
        swept.files += len(ids)
        return len(ids)

    def _expired_uploads(self, connection: Connection, now: float, swept: Swept) -> int:
        row = uploads.c
        ids = self._take(connection, row.id, row.expires_at, row.expires_at <= now)
        connection.execute(delete(uploads).where(row.id.in_(ids)))
        swept.uploads += len(ids)
        return len(ids)

    def _expired_batches(self, connection: Connection, now: float, swept: Swept) -> int:
        row = batches.c
        due = _due(row.created_at, self._limits.responses_s, now) & row.status.in_(ENDS)
        ids = self._take(connection, row.id, row.created_at, due)
        connection.execute(delete(batches).where(row.id.in_(ids)))
        swept.batches += len(ids)
        return len(ids)

    async def _owners_with_too_much(self) -> list[str]:
        limits = ((ROWS, self._limits.max_rows), (BYTES, self._limits.max_bytes))
        query = _usage().having(or_(false(), *(total > most for total, most in limits if most is not None)))
        return await self._database.aread(lambda connection: [one.owner for one in connection.execute(query)])

    def _of_owner(self, owner: str) -> Step:
        limits = self._limits

        def step(connection: Connection, now: float, swept: Swept) -> int:
            has = connection.execute(_usage().where(EVERYTHING.c.owner == owner)).one_or_none()
            rows = int(has.rows) - limits.max_rows if has and limits.max_rows is not None else 0
            size = int(has.bytes) - limits.max_bytes if has and limits.max_bytes is not None else 0
            thing = EVERYTHING.c
            query = select(EVERYTHING).where(thing.owner == owner, thing.can_go == 1).order_by(thing.at, thing.id)
            going: dict[str, list[str]] = {}
            for one in connection.execute(query.limit(self._batch)):
                if rows <= 0 and size <= 0:
                    break
                rows, size = rows - 1, size - one.size
                going.setdefault(one.kind, []).append(one.id)
            # Hiding a response that others continue frees only some of its bytes. The next batch reads the new totals.
            return sum(
                FORGET[kind](connection, self._take(connection, id, at, id.in_(going[kind])), now, swept)
                for kind, id, at in KINDS
                if kind in going
            )

        return step

    def _take(self, connection: Connection, id: Column[str], at: Column[Any], wanted: ColumnElement[bool]) -> list[str]:
        """Lock the oldest rows of one kind and return their ids. Skip rows that another transaction has locked."""
        query = select(id).where(wanted).order_by(at).limit(self._batch).with_for_update(skip_locked=True)
        return list(connection.execute(query).scalars())


def _due(at: Column[Any], after_s: float | None, now: float) -> ColumnElement[bool]:
    return false() if after_s is None else at <= now - after_s


def _forget_responses(connection: Connection, ids: list[str], now: float, swept: Swept) -> int:
    response_rows.hide(connection, ids, now)
    response_rows.forget_unneeded(connection, ids)
    swept.responses += len(ids)
    return len(ids)


def _forget_conversations(connection: Connection, ids: list[str], now: float, swept: Swept) -> int:
    conversation_rows.hide(connection, ids, now)
    conversation_rows.forget_unneeded(connection, ids)
    swept.conversations += len(ids)
    return len(ids)


def _forget_chats(connection: Connection, ids: list[str], _now: float, swept: Swept) -> int:
    connection.execute(delete(chat_completions).where(chat_completions.c.id.in_(ids)))
    swept.chat_completions += len(ids)
    return len(ids)


def _forget_sessions(connection: Connection, ids: list[str], _now: float, swept: Swept) -> int:
    connection.execute(delete(sessions).where(sessions.c.key.in_(ids)))
    swept.sessions += len(ids)
    return len(ids)


# The rows that count for an owner: the name of the kind, the id column, and the column with the time of creation or of
# the last use.
KINDS = (
    ("response", responses.c.id, responses.c.created_at),
    ("conversation", conversations.c.id, conversations.c.used_at),
    ("chat completion", chat_completions.c.id, chat_completions.c.created_at),
    ("session", sessions.c.key, sessions.c.used_at),
)
FORGET: dict[str, Callable[[Connection, list[str], float, Swept], int]] = {
    "response": _forget_responses,
    "conversation": _forget_conversations,
    "chat completion": _forget_chats,
    "session": _forget_sessions,
}


def _everything() -> Subquery:
    """Return a query for the rows of all kinds. A hidden row counts only with its bytes."""

    def rows(kind: str, id: Column[str], at: Column[Any]) -> Select[Any]:
        table = id.table.c
        visible = case((table.hidden_at.is_(None), 1), else_=0) if "hidden_at" in table else literal(1)
        can_go = case((_can_go(), 1), else_=0) if kind == "response" else visible
        return select(
            literal(kind).label("kind"),
            id.label("id"),
            at.label("at"),
            table.owner,
            table.size,
            visible.label("visible"),
            can_go.label("can_go"),
        )

    return union_all(*(rows(*kind) for kind in KINDS)).subquery("everything")


def _can_go() -> ColumnElement[bool]:
    """Return the condition that a response may be deleted: it has ended, and is not hidden already."""
    return responses.c.hidden_at.is_(None) & responses.c.ended_at.is_not(None)


EVERYTHING = _everything()
ROWS, BYTES = func.sum(EVERYTHING.c.visible), func.sum(EVERYTHING.c.size)


def _usage() -> Select[Any]:
    query = select(EVERYTHING.c.owner, ROWS.label("rows"), BYTES.label("bytes"))
    return query.group_by(EVERYTHING.c.owner)
