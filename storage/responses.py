"""Stored responses, and the chains that they form through ``previous_response_id``.

Theory of operation
-------------------
A response stores only its own items (the input items of its request, and its output) and the id of the response that
it continues. The whole conversation is the chain of these responses, read in one query. So a thousand turns take the
space of a thousand turns, not of half a million. If the history of a request differs from the chain, for example
because the history was truncated, it is stored in full. So the conversation that is read is always the one that was
stored.

A response may be deleted while others continue it. It is then *hidden*: its owner can no longer read it, and its body
is deleted. Its items stay until the last response that continues it is deleted. No new response can continue a hidden
one, so a hidden response without successors can be deleted. Deletions lock rows from the end of a chain to its
beginning, never in the other direction.

Source: ``/v1/responses`` of OpenAI's API.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from storage import conversations
from storage.base import ConflictError, Item, Store, can_be_id, check_ids, octets, size_of
from storage.encryption import Encryption
from storage.item_ids import asked_id, response_of
from storage.pagination import Order, Page, page_of
from storage.tables import response_events, responses

# How many ids one statement contains at most. SQLite and PostgreSQL accept some ten thousand values.
TOGETHER = 500


class NoConversationError(Exception):
    """The conversation of a response does not exist, or belongs to another owner."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response to store. ``created_at`` is in Unix seconds. ``body`` is the response's JSON.

    ``status`` is one of OpenAI's values. ``asked`` are the request's own input items, and ``output`` the items of the
    response. ``before`` are all items of the conversation before these. They come from the response ``previous_id`` or
    from the conversation ``conversation_id``. At most one of the two ids is set.
    """

    id: str
    owner: str
    created_at: float
    body: bytes
    asked: tuple[Item, ...]
    output: tuple[Item, ...] = ()
    before: tuple[Item, ...] = ()
    previous_id: str | None = None
    conversation_id: str | None = None
    status: str = "completed"

    @property
    def conversation(self) -> tuple[Item, ...]:
        """All items of the conversation, including those of this response."""
        return (*self.before, *self.asked, *self.output)


@dataclass(frozen=True, slots=True)
class Kept:
    """A response from the database. ``status`` and ``body`` are the current ones.

    ``background``: it was created with ``background: true``.
    """

    id: str
    created_at: float
    status: str
    body: bytes
    conversation_id: str | None
    background: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Which process answers a response, and until when it counts as alive. ``until`` is in Unix seconds."""

    worker: str
    until: float


class Responses(Store):
    """The responses in a database. Methods return None if a response does not exist or belongs to another owner."""

    async def put(self, response: StoredResponse) -> None:
        """Store a response. If it belongs to a conversation, add its items there in the same transaction.

        Raises ConflictError if the id is taken, NoConversationError if the conversation has been deleted meanwhile,
        and ValueError for invalid ids or for JSON that is not valid Unicode. If the response ``previous_id`` has been
        deleted meanwhile, ``before`` is stored in full, and no error is raised.
        """
        check(response)

        def work(connection: Connection) -> None:
            insert_response(connection, self._vault, response, self._now(connection))

        await self._database.awrite(work)

    async def get(self, id: str, owner: str) -> Kept | None:
        """Return a response."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Kept | None:
            row = connection.execute(named(id, owner)).one_or_none()
            return None if row is None else kept_of(row, self._vault)

        return await self._database.aread(work)

    async def conversation_items(self, id: str, owner: str) -> tuple[Item, ...] | None:
        """Return all items of the conversation, including those of this response: the history for its successor."""
        if not can_be_id(id):
            return None
        row = responses.c
        chain = select(row.id, row.previous_id).where(_is(id, owner)).cte("chain", recursive=True)
        chain = chain.union_all(select(row.id, row.previous_id).where(row.id == chain.c.previous_id))
        query = select(row.earlier, row.own_items, row.conversation_id, row.conversation_from)

        def work(connection: Connection) -> tuple[Item, ...] | None:
            turns = connection.execute(query.join(chain, row.id == chain.c.id).order_by(row.depth)).all()
            if not turns:
                return None
            first = turns[0]
            items: list[Item] = []
            if first.earlier is not None:
                items += self._vault.unpack(first.earlier)
            elif first.conversation_from is not None:
                items += conversations.items_until(
                    connection, self._vault, first.conversation_id, first.conversation_from
                )
            for turn in turns:
                items += self._vault.unpack(turn.own_items)
            return tuple(items)

        return await self._database.aread(work)

    async def input_items(
        self,
        id: str,
        owner: str,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> Page[Item] | None:
        """Return one page of a response's input items. An item without an id gets one, the same in every call.

        Raises UnknownCursorError if ``after`` or ``before`` is not the id of an input item.
        """
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> tuple[Item, ...] | None:
            row = connection.execute(named(id, owner)).one_or_none()
            return None if row is None else tuple(self._vault.unpack(row.own_items)[: row.asked])

        asked = await self._database.aread(work)
        if asked is None:
            return None
        return page_of(
            _with_ids(id, asked), lambda item: item["id"], after=after, before=before, limit=limit, order=order
        )

    async def items(self, ids: Iterable[str], owner: str) -> dict[str, Item]:
        """Return items of responses by id. Items that do not exist or belong to another owner are left out."""
        wanted = {id for id in ids if can_be_id(id)}
        of = sorted({response for id in wanted if (response := response_of(id)) is not None})
        if not of:
            return {}
        row = responses.c

        def work(connection: Connection) -> list[Row[Any]]:
            found: list[Row[Any]] = []
            for start in range(0, len(of), TOGETHER):
                query = select(row.id, row.own_items, row.asked).where(row.id.in_(of[start : start + TOGETHER]))
                found += connection.execute(query.where(row.owner == owner, row.hidden_at.is_(None)))
            return found

        items: dict[str, Item] = {}
        for kept in await self._database.aread(work):
            own = self._vault.unpack(kept.own_items)
            known = [*_with_ids(kept.id, own[: kept.asked]), *own[kept.asked :]]
            items |= {item["id"]: item for item in known if item.get("id") in wanted}
        return items

    async def delete(self, id: str, owner: str) -> bool:
        """Delete a response. Return whether it existed. Responses that continue it keep their history."""
        if not can_be_id(id):
            return False

        def work(connection: Connection) -> bool:
            row = connection.execute(named(id, owner).with_for_update()).one_or_none()
            if row is not None:
                hide(connection, [id], self._now(connection))
                forget_unneeded(connection, [id])
            return row is not None

        return await self._database.awrite(work)


def _with_ids(response_id: str, asked: Sequence[Item]) -> list[Item]:
    """Return the input items of a response, each with an id."""
    return [item if item.get("id") else {**item, "id": asked_id(response_id, n)} for n, item in enumerate(asked)]


def check(response: StoredResponse) -> None:
    """Raise ValueError if a response cannot be stored."""
    check_ids(response.id, response.owner)
    if response.previous_id is not None and response.conversation_id is not None:
        raise ValueError("a response goes on from another response or from a conversation, not from both")


def named(id: str, owner: str) -> Select[Any]:
    """Return the query for one response of an owner."""
    return select(responses).where(_is(id, owner))


def kept_of(row: Row[Any], encryption: Encryption) -> Kept:
    """Convert a row that :func:`named` found."""
    return Kept(
        row.id, row.created_at, row.status, encryption.open(row.body), row.conversation_id, row.worker is not None
    )


def insert_response(
    connection: Connection, encryption: Encryption, response: StoredResponse, now: float, *, lease: Lease | None = None
) -> None:
    """Insert a response: one that has ended, or, with ``lease``, one that a worker now begins to answer.

    Raises the errors of :meth:`Responses.put`.
    """
    own = response.asked + response.output
    items, body = encryption.pack(own), encryption.seal(response.body)
    place = _place(connection, encryption, response)
    if response.conversation_id is not None:
        # The items of a response that begins are added when it ends. Here the conversation must only exist.
        entering = own if lease is None else ()
        place["conversation_from"] = enter(
            connection, encryption, response.conversation_id, response.owner, entering, now
        )
    try:
        connection.execute(
            insert(responses).values(
                id=response.id,
                owner=response.owner,
                created_at=response.created_at,
                status=response.status,
                length=len(response.conversation),
                own_items=items,
                asked=len(response.asked),
                body=body,
                size=size_of(items, body, place["earlier"]),
                ended_at=now if lease is None else None,
                worker=lease.worker if lease else None,
                lease_until=lease.until if lease else None,
                **place,
            )
        )
    except IntegrityError:
        raise ConflictError(f"there is a response with id {response.id!r} already") from None


def enter(
    connection: Connection, encryption: Encryption, conversation_id: str, owner: str, items: Sequence[Item], now: float
) -> int:
    """Add a response's items to its conversation. Return the position of the first. Raises NoConversationError."""
    if can_be_id(conversation_id):
        begins = conversations.append(connection, encryption, conversation_id, owner, items, now)
        if begins is not None:
            return begins
    raise NoConversationError(f"there is no conversation with id {conversation_id!r}")


def hide(connection: Connection, ids: Sequence[str], now: float) -> None:
    """Hide responses from their owners. The caller has locked the rows. The items stay, since others may need them."""
    row = responses.c
    connection.execute(delete(response_events).where(response_events.c.response_id.in_(ids)))
    connection.execute(
        update(responses)
        .where(row.id.in_(ids))
        .values(hidden_at=now, body=None, lease_until=None, size=octets(connection, row.own_items, row.earlier))
    )


def forget_unneeded(connection: Connection, ids: Sequence[str]) -> int:
    """Delete those of these responses that are hidden and that no response continues. Return how many were deleted.

    Then do the same for the responses before them: they may have no other successor.
    """
    row = responses.c
    hidden = row.hidden_at.is_not(None)
    after = responses.alias()
    held = select(after.c.id).where(after.c.previous_id == row.id).exists()
    chain = select(row.id, row.previous_id).where(row.id.in_(ids), hidden, ~held).cte("chain", recursive=True)
    chain = chain.union(select(row.id, row.previous_id).where(row.id == chain.c.previous_id, hidden))
    in_chain = select(chain.c.id)
    # Lock the rows before counting their successors. So if two transactions delete the last two successors of a
    # response, one of them sees that none is left. (If one transaction deletes a response while another deletes its
    # successor, neither sees it. Retention deletes such rows later.)
    locked = connection.execute(
        select(row.id, row.previous_id, row.conversation_id)
        .where(row.id.in_(in_chain), hidden)
        .order_by(row.depth.desc(), row.id)
        .with_for_update()
    ).all()
    going_on = select(row.previous_id, func.count().label("many")).where(row.previous_id.in_(in_chain))
    followers = Counter(
        {one.previous_id: int(one.many) for one in connection.execute(going_on.group_by(row.previous_id))}
    )
    unneeded = []
    for one in locked:
        if not followers[one.id]:
            unneeded.append(one)
            followers[one.previous_id] -= 1
    for some in _some(unneeded):  # the ends of chains first, because a row refers to the one before it
        connection.execute(delete(responses).where(row.id.in_([one.id for one in some])))
    ended = sorted({one.conversation_id for one in unneeded if one.conversation_id is not None})
    for few in _some(ended):
        conversations.forget_unneeded(connection, few)
    return len(unneeded)


def _is(id: str, owner: str) -> ColumnElement[bool]:
    row = responses.c
    return (row.id == id) & (row.owner == owner) & row.hidden_at.is_(None)


def _place(connection: Connection, encryption: Encryption, response: StoredResponse) -> dict[str, Any]:
    """Return the columns that define what came before a response."""
    place: dict[str, Any] = {
        "previous_id": None,
        "conversation_id": response.conversation_id,
        "conversation_from": None,
        "depth": 0,
        "earlier": None,
    }
    if response.conversation_id is not None:
        return place
    if response.previous_id is not None and can_be_id(response.previous_id):
        # The lock keeps others from hiding this row until the commit. FOR KEY SHARE still lets others continue it.
        query = named(response.previous_id, response.owner).with_for_update(read=True, key_share=True)
        previous = connection.execute(query).one_or_none()
        if previous is not None and _begins_with(response.before, previous, encryption):
            return {**place, "previous_id": previous.id, "depth": previous.depth + 1}
    return {**place, "earlier": encryption.pack(response.before) if response.before else None}


def _begins_with(before: tuple[Item, ...], previous: Row[Any], encryption: Encryption) -> bool:
    """Whether ``before`` equals the conversation of the previous response.

    Only the total number of items and the previous response's own items are compared.
    """
    if previous.ended_at is None or previous.length != len(before):
        return False
    own: list[Item] = encryption.unpack(previous.own_items)
    # Compare both as decoded JSON, where a caller's tuples are lists.
    ends: list[Item] = encryption.unpack(encryption.pack(before[len(before) - len(own) :]))
    return own == ends


def _some[T](many: Sequence[T]) -> Iterable[Sequence[T]]:
    return (many[n : n + TOGETHER] for n in range(0, len(many), TOGETHER))
