"""Stored chat completions: those of requests with ``store: true``.

Lists are sorted by creation time, then by id, so that a cursor names exactly one place. The metadata may be encrypted,
so a filter by metadata reads the rows one after the other.

Source: ``GET /v1/chat/completions``, ``GET``, ``POST`` and ``DELETE`` of ``/v1/chat/completions/{id}`` and its
``messages``, of OpenAI's API. An ``after`` that is not in the list is an error there and here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    Select,
    Text,
    delete,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from storage.base import ConflictError, Item, Store, can_be_id, check_ids, size_of
from storage.encryption import Encryption
from storage.pagination import Order, Page, UnknownCursorError, first_of, page_of
from storage.tables import chat_completions

# How many rows one query reads at least when it filters by metadata.
LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class StoredChat:
    """A chat completion to store. ``created_at`` is in Unix seconds. ``body`` is its JSON.

    ``messages`` are the messages of the request.
    """

    id: str
    owner: str
    created_at: float
    model: str
    body: bytes
    messages: tuple[Item, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptChat:
    """A chat completion from the database. ``body`` is as it was stored; ``metadata`` is the current one."""

    id: str
    created_at: float
    model: str
    body: bytes
    metadata: dict[str, Any]


class ChatCompletions(Store):
    """The chat completions in a database. Methods return None if one does not exist or belongs to another owner."""

    async def put(self, chat: StoredChat) -> None:
        """Store a completion. Raises ConflictError if the id is taken, ValueError for invalid ids."""
        check_ids(chat.id, chat.owner, chat.model)

        def work(connection: Connection) -> None:
            body = self._vault.seal(chat.body)
            messages, metadata = self._vault.pack(chat.messages), self._vault.pack(chat.metadata)
            try:
                connection.execute(
                    insert(chat_completions).values(
                        id=chat.id,
                        owner=chat.owner,
                        created_at=chat.created_at,
                        model=chat.model,
                        metadata=metadata,
                        messages=messages,
                        body=body,
                        size=size_of(metadata, messages, body),
                    )
                )
            except IntegrityError:
                raise ConflictError(f"there is a chat completion with id {chat.id!r} already") from None

        await self._database.awrite(work)

    async def get(self, id: str, owner: str) -> KeptChat | None:
        """Return a completion."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> KeptChat | None:
            row = connection.execute(_named(id, owner)).one_or_none()
            return None if row is None else self._kept(row)

        return await self._database.aread(work)

    async def list(
        self,
        owner: str,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "asc",
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Page[KeptChat]:
        """Return one page of the owner's completions. Filter by ``model``, and by these ``metadata`` values, if given.

        Raises UnknownCursorError if the owner has no completion with the id ``after``. The filters do not apply to it.
        """
        row = chat_completions.c
        wanted = [row.owner == owner]
        if model is not None:
            if not can_be_id(model):
                return Page((), has_more=False)
            wanted.append(row.model == model)

        def work(connection: Connection) -> Page[KeptChat]:
            begin = None
            if after is not None:
                begin = connection.execute(_named(after, owner)).one_or_none() if can_be_id(after) else None
                if begin is None:
                    raise UnknownCursorError(after)
            ids = _ids(connection, self._vault, wanted, begin, limit + 1, order, metadata or {})
            found = {one.id: one for one in connection.execute(select(chat_completions).where(row.id.in_(ids)))}
            return first_of([self._kept(found[id]) for id in ids], limit)

        return await self._database.aread(work)

    async def messages(
        self, id: str, owner: str, *, after: str | None = None, limit: int = 20, order: Order = "asc"
    ) -> Page[Item] | None:
        """Return one page of the request's messages. Each gets an id: the completion's id and the message's index.

        Raises UnknownCursorError if ``after`` is not one of these ids.
        """
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Page[Item] | None:
            row = connection.execute(_named(id, owner)).one_or_none()
            if row is None:
                return None
            listed = [{**message, "id": f"{id}-{n}"} for n, message in enumerate(self._vault.unpack(row.messages))]
            return page_of(listed, lambda message: message["id"], after=after, limit=limit, order=order)

        return await self._database.aread(work)

    async def update(self, id: str, owner: str, metadata: Mapping[str, Any]) -> KeptChat | None:
        """Replace the metadata of a completion. Return the changed completion."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> KeptChat | None:
            row = connection.execute(_named(id, owner).with_for_update()).one_or_none()
            if row is None:
                return None
            kept = self._vault.pack(dict(metadata))
            size = row.size + size_of(kept) - size_of(row.metadata)
            changed = update(chat_completions).where(chat_completions.c.id == id).values(metadata=kept, size=size)
            return self._kept(connection.execute(changed.returning(chat_completions)).one())

        return await self._database.awrite(work)

    async def delete(self, id: str, owner: str) -> bool:
        """Delete a completion. Return whether it existed."""
        if not can_be_id(id):
            return False
        row = chat_completions.c
        gone = delete(chat_completions).where(row.id == id, row.owner == owner)
        return await self._database.awrite(lambda connection: bool(connection.execute(gone).rowcount))

    def _kept(self, row: Row[Any]) -> KeptChat:
        return KeptChat(row.id, row.created_at, row.model, self._vault.open(row.body), self._vault.unpack(row.metadata))


def _ids(
    connection: Connection,
    encryption: Encryption,
    wanted: list[ColumnElement[bool]],
    begin: Any,
    many: int,
    order: Order,
    metadata: Mapping[str, Any],
) -> list[str]:
    """Return the ids of up to ``many`` completions that match, from after the row ``begin`` (None: from the start)."""
    row = chat_completions.c
    ids: list[str] = []
    at_once = max(many, LOOKED_AT) if metadata else many
    ordering = (row.created_at, row.id) if order == "asc" else (row.created_at.desc(), row.id.desc())
    query = select(row.id, row.created_at, row.metadata).where(*wanted).order_by(*ordering).limit(at_once)
    while True:
        found = connection.execute(query if begin is None else query.where(_beyond(begin, order))).all()
        for one in found:
            if not metadata or metadata.items() <= encryption.unpack(one.metadata).items():
                ids.append(one.id)
            if len(ids) == many:
                return ids
        if len(found) < at_once:
            return ids
        begin = found[-1]


def _named(id: str, owner: str) -> Select[Any]:
    return select(chat_completions).where(chat_completions.c.id == id, chat_completions.c.owner == owner)


def _beyond(begin: Any, order: Order) -> ColumnElement[bool]:
    place = tuple_(chat_completions.c.created_at, chat_completions.c.id)
    mark = tuple_(literal(begin.created_at, Double), literal(begin.id, Text))
    beyond: ColumnElement[bool] = place > mark if order == "asc" else place < mark
    return beyond
