"""Stored conversations: lists of items. Apps add items, and so do responses.

Each item has a position, which defines the order and is never reused. It also has an id, unique within its
conversation. An item without an id gets one. Additions to one conversation run one after the other (under a lock on
its row; on SQLite under the one write lock), so the items of two additions never mix.

Source: ``/v1/conversations`` of OpenAI's API. OpenAI does not document what happens if an id occurs twice. Here
:meth:`Conversations.add_items` refuses it, and a response's item whose id exists already is skipped.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from storage.base import ConflictError, Item, Store, can_be_id, check_ids, size_of
from storage.encryption import Encryption
from storage.pagination import Order, Page, UnknownCursorError, first_of
from storage.tables import conversation_items, conversations, responses

PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}  # of ids, by an item's type


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its items. ``created_at`` is Unix seconds."""

    id: str
    created_at: float
    metadata: dict[str, Any]


class Conversations(Store):
    """The conversations in a database. Methods return None if one does not exist or belongs to another owner."""

    async def create(
        self, owner: str, metadata: Mapping[str, Any] | None = None, items: Sequence[Item] = ()
    ) -> Conversation:
        """Create a conversation. Raises ConflictError if two items have the same id."""
        check_ids(owner)
        id = f"conv_{secrets.token_hex(24)}"

        def work(connection: Connection) -> Conversation:
            now = self._now(connection)
            kept = self._vault.pack(dict(metadata or {}))
            connection.execute(
                insert(conversations).values(
                    id=id,
                    owner=owner,
                    created_at=now,
                    used_at=now,
                    metadata=kept,
                    next_position=0,
                    size=size_of(kept),
                )
            )
            if items:
                self._add(connection, id, items)
            return Conversation(id, now, dict(metadata or {}))

        return await self._database.awrite(work)

    async def get(self, id: str, owner: str) -> Conversation | None:
        """Return a conversation."""
        if not can_be_id(id):
            return None
        row = await self._database.aread(lambda connection: connection.execute(_named(id, owner)).one_or_none())
        return None if row is None else self._conversation(row)

    async def update(self, id: str, owner: str, metadata: Mapping[str, Any]) -> Conversation | None:
        """Replace the metadata of a conversation. Return the changed conversation."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Conversation | None:
            row = connection.execute(_named(id, owner).with_for_update()).one_or_none()
            if row is None:
                return None
            kept = self._vault.pack(dict(metadata))
            grown = size_of(kept) - size_of(row.metadata)
            connection.execute(
                update(conversations)
                .where(conversations.c.id == id)
                .values(metadata=kept, size=row.size + grown, used_at=self._now(connection))
            )
            return Conversation(id, row.created_at, dict(metadata))

        return await self._database.awrite(work)

    async def delete(self, id: str, owner: str) -> bool:
        """Delete a conversation. Return whether it existed.

        Its responses stay, and new responses can still continue them. Its items stay in the database as long as one of
        those responses does.
        """
        if not can_be_id(id):
            return False

        def work(connection: Connection) -> bool:
            row = connection.execute(_named(id, owner).with_for_update()).one_or_none()
            if row is not None:
                hide(connection, [id], self._now(connection))
                forget_unneeded(connection, [id])
            return row is not None

        return await self._database.awrite(work)

    async def add_items(self, id: str, owner: str, items: Sequence[Item]) -> tuple[Item, ...] | None:
        """Append items, all or none, and return them with their ids.

        Raises ConflictError if an id occurs twice or is already in the conversation.
        """
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> tuple[Item, ...] | None:
            if connection.execute(_named(id, owner).with_for_update()).one_or_none() is None:
                return None
            return self._add(connection, id, items)

        return await self._database.awrite(work)

    async def enter(self, id: str, owner: str, items: Sequence[Item]) -> bool:
        """Append the items of a response that is not stored itself. Items that are already there are skipped.

        Return whether the conversation exists.
        """
        if not can_be_id(id):
            return False

        def work(connection: Connection) -> bool:
            return append(connection, self._vault, id, owner, items, self._now(connection)) is not None

        return await self._database.awrite(work)

    async def items(self, id: str, owner: str) -> tuple[Item, ...] | None:
        """Return all items, the oldest first."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> tuple[Item, ...] | None:
            if connection.execute(_named(id, owner)).one_or_none() is None:
                return None
            return items_until(connection, self._vault, id, None)

        return await self._database.aread(work)

    async def list_items(
        self, id: str, owner: str, *, after: str | None = None, limit: int = 20, order: Order = "desc"
    ) -> Page[Item] | None:
        """Return one page of items. Raises UnknownCursorError if no item has the id ``after``."""
        if not can_be_id(id):
            return None
        row = conversation_items.c

        def work(connection: Connection) -> Page[Item] | None:
            if connection.execute(_named(id, owner)).one_or_none() is None:
                return None
            wanted = select(row.item).where(row.conversation_id == id)
            if after is not None:
                position = _position(connection, id, after)
                if position is None:
                    raise UnknownCursorError(after)
                wanted = wanted.where(row.position > position if order == "asc" else row.position < position)
            ordered = wanted.order_by(row.position if order == "asc" else row.position.desc()).limit(limit + 1)
            return first_of([self._vault.unpack(item) for item in connection.execute(ordered).scalars()], limit)

        return await self._database.aread(work)

    async def get_item(self, id: str, owner: str, item_id: str) -> Item | None:
        """Return an item."""
        if not (can_be_id(id) and can_be_id(item_id)):
            return None
        row = conversation_items.c
        query = _named(id, owner).join(conversation_items, (row.conversation_id == id) & (row.id == item_id))
        query = query.with_only_columns(row.item)
        kept = await self._database.aread(lambda connection: connection.execute(query).scalar_one_or_none())
        found: Item | None = None if kept is None else self._vault.unpack(kept)
        return found

    async def delete_item(self, id: str, owner: str, item_id: str) -> Conversation | None:
        """Delete an item and return its conversation. Return None if the item or the conversation does not exist."""
        if not (can_be_id(id) and can_be_id(item_id)):
            return None
        row = conversation_items.c

        def work(connection: Connection) -> Conversation | None:
            found = connection.execute(_named(id, owner).with_for_update()).one_or_none()
            if found is None:
                return None
            item = connection.execute(
                delete(conversation_items).where(row.conversation_id == id, row.id == item_id).returning(row.item)
            ).scalar_one_or_none()
            if item is None:
                return None
            connection.execute(
                update(conversations)
                .where(conversations.c.id == id)
                .values(size=found.size - size_of(item), used_at=self._now(connection))
            )
            return self._conversation(found)

        return await self._database.awrite(work)

    def _add(self, connection: Connection, id: str, items: Sequence[Item]) -> tuple[Item, ...]:
        named = with_ids(items)
        ids = [item["id"] for item in named]
        twice = {one for one, times in Counter(ids).items() if times > 1} | _already(connection, id, ids)
        if twice:
            raise ConflictError(f"the conversation has an item with id {min(twice)!r} already")
        add(connection, self._vault, id, named, self._now(connection))
        return named

    def _conversation(self, row: Row[Any]) -> Conversation:
        return Conversation(row.id, row.created_at, self._vault.unpack(row.metadata))


def append(
    connection: Connection, encryption: Encryption, id: str, owner: str, items: Sequence[Item], now: float
) -> int | None:
    """Append the items of a response, in the transaction that stores the response.

    Return the position of the first item, None if the conversation does not exist. Items whose ids are already in the
    conversation are skipped: apps may send them again.
    """
    row = connection.execute(_named(id, owner).with_for_update()).one_or_none()
    if row is None:
        return None
    named = {item["id"]: item for item in with_ids(items)}
    already = _already(connection, id, list(named))
    add(connection, encryption, id, [item for item_id, item in named.items() if item_id not in already], now)
    return int(row.next_position)


def add(connection: Connection, encryption: Encryption, id: str, items: Sequence[Item], now: float) -> None:
    """Append items that have ids. The caller has locked the conversation's row."""
    kept = [(item["id"], encryption.pack(item)) for item in items]
    first = connection.execute(
        update(conversations)
        .where(conversations.c.id == id)
        .values(
            next_position=conversations.c.next_position + len(kept),
            size=conversations.c.size + size_of(*(text for _, text in kept)),
            used_at=now,
        )
        .returning(conversations.c.next_position - len(kept))
    ).scalar_one()
    if kept:
        connection.execute(
            insert(conversation_items),
            [
                {"conversation_id": id, "position": position, "id": item_id, "item": text}
                for position, (item_id, text) in enumerate(kept, start=first)
            ],
        )


def items_until(connection: Connection, encryption: Encryption, id: str, position: int | None) -> tuple[Item, ...]:
    """Return a conversation's items before a position (None: all items). Works for hidden conversations too."""
    row = conversation_items.c
    query = select(row.item).where(row.conversation_id == id).order_by(row.position)
    if position is not None:
        query = query.where(row.position < position)
    return tuple(encryption.unpack(item) for item in connection.execute(query).scalars())


def with_ids(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items. Those without an id get a new one. Raises ValueError for an invalid id."""
    named = tuple(
        item if item.get("id") else {**item, "id": f"{PREFIXES.get(item.get('type', 'message'), 'item')}_{_new()}"}
        for item in items
    )
    if not all(isinstance(item["id"], str) for item in named):
        raise ValueError("an item's id is a string")
    check_ids(*(item["id"] for item in named))
    return named


def hide(connection: Connection, ids: Sequence[str], now: float) -> None:
    """Hide conversations from their owners. The caller has locked the rows."""
    connection.execute(update(conversations).where(conversations.c.id.in_(ids)).values(hidden_at=now))


def forget_unneeded(connection: Connection, ids: Sequence[str]) -> int:
    """Delete those of these conversations that are hidden and that no response needs. Return how many were deleted."""
    row = conversations.c
    # Lock the rows before looking for responses, so that a response that is just being stored is seen.
    locked = connection.execute(
        select(row.id).where(row.id.in_(ids), row.hidden_at.is_not(None)).order_by(row.id).with_for_update()
    )
    hidden = list(locked.scalars())
    needed = select(responses.c.id).where(responses.c.conversation_id == row.id).exists()
    return connection.execute(delete(conversations).where(row.id.in_(hidden), ~needed)).rowcount


def _new() -> str:
    return secrets.token_hex(24)


def _named(id: str, owner: str) -> Select[Any]:
    row = conversations.c
    return select(conversations).where(row.id == id, row.owner == owner, row.hidden_at.is_(None))


def _position(connection: Connection, id: str, item_id: str) -> int | None:
    row = conversation_items.c
    if not can_be_id(item_id):
        return None
    query = select(func.max(row.position)).where(row.conversation_id == id, row.id == item_id)
    position: int | None = connection.execute(query).scalar_one()
    return position


def _already(connection: Connection, id: str, item_ids: Sequence[str]) -> set[str]:
    row = conversation_items.c
    query = select(row.id).where(row.conversation_id == id, row.id.in_(item_ids))
    return set(connection.execute(query).scalars())
