"""Files that apps upload, and that batches make.

The bytes of a file are in the database, in pieces of :data:`PIECE_BYTES`, so that all proxies on a database have them.
No query holds more than some pieces at once.

A file is stored in three steps: :meth:`Files.begin` checks the quotas and inserts its row; :meth:`Files.write` adds
pieces; :meth:`Files.finish` makes it ready. Until then nobody can read it. :meth:`Files.put` does all three. If the
process is killed in between, the rest is deleted after :data:`UNFINISHED_S`.

The same rows hold the parts of uploads (:mod:`storage.uploads`).

Source: ``/v1/files`` of OpenAI's API.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    Select,
    Text,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from storage.base import Clock, Store, can_be_id, check_ids
from storage.database import Database
from storage.encryption import Encryption
from storage.pagination import Order, Page, UnknownCursorError, first_of
from storage.tables import ENDS, batches, file_pieces, files

PIECE_BYTES = 1024 * 1024

PIECES_AT_ONCE = 4
"""How many pieces one transaction writes."""

UNFINISHED_S = 3600.0
"""After this time a file that is not ready is deleted: the process that wrote it has died."""

MAX_FILES = 10_000
"""How many files an owner may have, with the parts of uploads."""

LOCKS = 2
"""The first half of an advisory lock's key: quotas are checked by one transaction at a time."""


class QuotaError(Exception):
    """There is no room for a file. The message is for the owner."""


class GoneError(Exception):
    """The file was deleted while it was written, or the upload that it is a part of does not exist any more."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many bytes the files of one owner may have, and those of all owners. None: without limit."""

    owner_bytes: int | None = 1024 * 1024 * 1024
    total_bytes: int | None = 10 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file without its bytes. ``size`` is their number. Times are in Unix seconds. ``media_type`` may be empty."""

    id: str
    created_at: float
    expires_at: float | None
    purpose: str
    size: int
    name: str
    media_type: str


class Files(Store):
    """The files in a database. Methods return None if a file does not exist, has expired or belongs to another."""

    def __init__(
        self,
        database: Database,
        encryption: Encryption | None = None,
        quota: Quota | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(database, encryption, clock=clock)
        self._quota = quota or Quota()

    async def put(
        self,
        owner: str,
        name: str,
        data: bytes,
        *,
        purpose: str,
        media_type: str = "",
        expires_s: float | None = None,
        upload_id: str | None = None,
    ) -> StoredFile:
        """Store a file. ``expires_s``: how many seconds it is kept; None: until it is deleted. Raises QuotaError.

        With ``upload_id`` it becomes a part of an upload. Raises GoneError if that ends meanwhile.
        """
        try:
            file = await self.begin(
                *(owner, name, len(data)),
                purpose=purpose,
                media_type=media_type,
                expires_s=expires_s,
                upload_id=upload_id,
            )
            is_there = await self._fill(file.id, data)
        except IntegrityError as error:
            # The row that the new one belongs to was deleted.
            raise GoneError(upload_id or name) from error
        if not is_there:
            raise GoneError(file.id)
        return file

    async def _fill(self, id: str, data: bytes) -> bool:
        """Write all bytes of a file. Return whether it still exists. If that fails, the file is deleted."""
        try:
            await self.write(id, 0, cut(data))
            return await self.finish(id)
        except BaseException:
            await self._database.awrite(lambda connection: forget(connection, [id]) and None)
            raise

    async def begin(
        self,
        owner: str,
        name: str,
        size: int,
        *,
        purpose: str,
        media_type: str = "",
        expires_s: float | None = None,
        upload_id: str | None = None,
        has_room: bool = False,
    ) -> StoredFile:
        """Insert the row of a file of ``size`` bytes. Raises QuotaError if there is no room.

        ``has_room``: do not ask whether there is room. The results of a batch have been paid for.
        """
        check_ids(owner, purpose)
        id = new_id("part" if upload_id else "file")
        about = self._vault.pack({"name": name, "media_type": media_type})

        def work(connection: Connection) -> StoredFile:
            if not has_room:
                self.check_room(connection, owner, size)
            now = self._now(connection)
            expires_at = None if expires_s is None else now + expires_s
            connection.execute(
                insert(files).values(
                    id=id,
                    owner=owner,
                    created_at=now,
                    expires_at=expires_at,
                    purpose=purpose,
                    bytes=size,
                    ready=0,
                    upload_id=upload_id,
                    about=about,
                )
            )
            return StoredFile(id, now, expires_at, purpose, size, name, media_type)

        return await self._database.awrite(work)

    async def write(self, id: str, position: int, pieces: Iterable[bytes]) -> int:
        """Add pieces from a position on. Return the position after them. A piece that is there already is kept."""
        some: list[bytes] = []
        for piece in pieces:
            some.append(piece)
            if len(some) == PIECES_AT_ONCE:
                position = await self._write(id, position, some)
                some = []
        return await self._write(id, position, some)

    async def _write(self, id: str, position: int, pieces: Sequence[bytes]) -> int:
        if not pieces:
            return position

        def work(connection: Connection) -> int:
            rows = [
                {"file_id": id, "position": place, "data": self._vault.seal_bytes(piece)}
                for place, piece in enumerate(pieces, start=position)
            ]
            connection.execute(insert(file_pieces), rows)
            return position + len(rows)

        return await self._database.awrite(work)

    async def finish(self, id: str) -> bool:
        """Make a file ready: from now on it can be read. Return whether it still exists."""
        done = update(files).where(files.c.id == id).values(ready=1)
        return await self._database.awrite(lambda connection: bool(connection.execute(done).rowcount))

    async def get(self, id: str, owner: str) -> StoredFile | None:
        """Return a file."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> StoredFile | None:
            row = connection.execute(self._named(connection, id, owner)).one_or_none()
            return None if row is None else self._file(row)

        return await self._database.aread(work)

    async def list(
        self,
        owner: str,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        purpose: str | None = None,
    ) -> Page[StoredFile]:
        """Return one page of the owner's files, by creation time. Raises UnknownCursorError."""
        row = files.c
        if purpose is not None and not can_be_id(purpose):
            return Page((), has_more=False)

        def work(connection: Connection) -> Page[StoredFile]:
            query = self._all(connection, owner)
            if purpose is not None:
                query = query.where(row.purpose == purpose)
            if after is not None:
                begin = (
                    connection.execute(self._named(connection, after, owner)).one_or_none()
                    if can_be_id(after)
                    else None
                )
                if begin is None:
                    raise UnknownCursorError(after)
                query = query.where(_beyond(begin, order))
            ordering = (row.created_at, row.id) if order == "asc" else (row.created_at.desc(), row.id.desc())
            found = connection.execute(query.order_by(*ordering).limit(limit + 1)).all()
            return first_of([self._file(one) for one in found], limit)

        return await self._database.aread(work)

    async def pieces(self, id: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a file, piece by piece. The caller has found the file with :meth:`get`."""
        position = 0
        while True:
            query = select(file_pieces.c.data).where(file_pieces.c.file_id == id, file_pieces.c.position == position)
            kept = await self._database.aread(
                lambda connection, query=query: connection.execute(query).scalar_one_or_none()  # type: ignore[misc]
            )
            if kept is None:
                return
            yield self._vault.open_bytes(bytes(kept))
            position += 1

    async def read(self, id: str) -> bytes:
        """Return all bytes of a file. The caller has checked its size."""
        return b"".join([piece async for piece in self.pieces(id)])

    async def delete(self, id: str, owner: str) -> bool:
        """Delete a file. Return whether it existed."""
        if not can_be_id(id):
            return False

        def work(connection: Connection) -> bool:
            row = connection.execute(self._named(connection, id, owner)).one_or_none()
            return row is not None and bool(forget(connection, [id]))

        return await self._database.awrite(work)

    def check_room(self, connection: Connection, owner: str, size: int, *, is_file: bool = True) -> None:
        """Check the quotas, in a writing transaction. Raises QuotaError if ``size`` more bytes have no room.

        The lines of batches under way count like the files that they were read from. Another check waits until this
        transaction has ended.
        """
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:locks, 0)"), {"locks": LOCKS})
        row, quota = files.c, self._quota
        if is_file:
            count = connection.execute(select(func.count()).where(row.owner == owner)).scalar_one()
            if count >= MAX_FILES:
                raise QuotaError(f"There are {MAX_FILES} files of this key. Delete some.")
        if quota.owner_bytes is not None:
            own = _stored(connection, owner) + size
            if own > quota.owner_bytes:
                raise QuotaError(
                    f"The files and batches of this key would have {own} bytes, and {quota.owner_bytes} are allowed."
                    " Delete some files, or let them expire."
                )
        if quota.total_bytes is not None and _stored(connection) + size > quota.total_bytes:
            raise QuotaError("The files and batches of all keys have as many bytes as are allowed. Try again later.")

    def _all(self, connection: Connection, owner: str) -> Select[Any]:
        row = files.c
        alive = or_(row.expires_at.is_(None), row.expires_at > self._now(connection))
        return select(files).where(row.owner == owner, row.ready == 1, row.upload_id.is_(None), alive)

    def _named(self, connection: Connection, id: str, owner: str) -> Select[Any]:
        return self._all(connection, owner).where(files.c.id == id)

    def _file(self, row: Row[Any]) -> StoredFile:
        about = self._vault.unpack(row.about)
        return StoredFile(
            row.id, row.created_at, row.expires_at, row.purpose, int(row.bytes), about["name"], about["media_type"]
        )


def _stored(connection: Connection, owner: str | None = None) -> int:
    """Return how many bytes the files, and the batches under way, of an owner have; or those of all owners."""
    total = 0
    for table, counts in ((files, true()), (batches, batches.c.status.not_in(ENDS))):
        mine = true() if owner is None else table.c.owner == owner
        query = select(func.coalesce(func.sum(table.c.bytes), 0)).where(mine, counts)
        total += int(connection.execute(query).scalar_one())
    return total


def cut(data: bytes) -> Iterable[bytes]:
    """Cut bytes into pieces."""
    return (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))


def new_id(prefix: str) -> str:
    """Return a new id, such as OpenAI's are."""
    separator = "-" if prefix == "file" else "_"
    return f"{prefix}{separator}{secrets.token_hex(16)}"


def forget(connection: Connection, ids: Sequence[str]) -> int:
    """Delete files with their pieces. Return how many were deleted."""
    return connection.execute(delete(files).where(files.c.id.in_(ids))).rowcount


def _beyond(begin: Any, order: Order) -> ColumnElement[bool]:
    place = tuple_(files.c.created_at, files.c.id)
    mark = tuple_(literal(begin.created_at, Double), literal(begin.id, Text))
    beyond: ColumnElement[bool] = place > mark if order == "asc" else place < mark
    return beyond
