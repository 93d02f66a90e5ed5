"""Uploads: files that apps send in parts.

A part is a row of :mod:`storage.files` that belongs to an upload. To complete an upload, the pieces of its parts are
given to the new file in one transaction. Nothing is copied.

Source: ``/v1/uploads`` of OpenAI's API.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from storage.base import Store, can_be_id, check_ids
from storage.database import Database
from storage.encryption import Encryption
from storage.files import Files, GoneError, StoredFile, new_id
from storage.tables import file_pieces, files, uploads

OPEN_S = 3600.0
"""How many seconds an upload can be added to, as at OpenAI."""


MAX_OPEN = 1000
"""How many uploads of an owner may be open."""


class TooManyUploadsError(Exception):
    """The owner has as many open uploads as are allowed. The message is for the owner."""


class PartsError(Exception):
    """An upload cannot be completed with these parts. The message is for its owner. ``param`` names the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload. ``size`` is the size of the whole file in bytes, as announced.

    ``expires_s``: how many seconds the file will be kept; None: until it is deleted.
    """

    id: str
    created_at: float
    expires_at: float
    size: int
    name: str
    purpose: str
    media_type: str
    expires_s: float | None


class Uploads(Store):
    """The uploads in a database. Methods return None if one does not exist or belongs to another owner."""

    def __init__(self, database: Database, encryption: Encryption | None, stored: Files, **more: Any) -> None:
        super().__init__(database, encryption, **more)
        self._files = stored

    async def create(
        self, owner: str, name: str, size: int, *, purpose: str, media_type: str, expires_s: float | None
    ) -> Upload:
        """Begin an upload. Raises TooManyUploadsError."""
        check_ids(owner, purpose)
        about: dict[str, Any] = {"name": name, "purpose": purpose, "media_type": media_type, "expires_s": expires_s}
        kept, id = self._vault.pack(about), new_id("upload")

        def work(connection: Connection) -> Upload:
            now, row = self._now(connection), uploads.c
            are_open = select(func.count()).where(row.owner == owner, row.expires_at > now)
            if connection.execute(are_open).scalar_one() >= MAX_OPEN:
                raise TooManyUploadsError(f"There are {MAX_OPEN} open uploads of this key. Complete or cancel some.")
            connection.execute(
                insert(uploads).values(
                    id=id, owner=owner, created_at=now, expires_at=now + OPEN_S, bytes=size, about=kept
                )
            )
            return Upload(id, now, now + OPEN_S, size, **about)

        return await self._database.awrite(work)

    async def get(self, id: str, owner: str) -> Upload | None:
        """Return an upload that is open."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Upload | None:
            row = self._row(connection, id, owner)
            return None if row is None else self._upload(row)

        return await self._database.aread(work)

    async def size(self, id: str) -> int:
        """Return how many bytes the parts of an upload have."""
        query = select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.upload_id == id)
        return await self._database.aread(lambda connection: int(connection.execute(query).scalar_one()))

    async def add(self, upload: Upload, owner: str, data: bytes) -> StoredFile | None:
        """Add a part. Return None if the upload ends meanwhile. Raises QuotaError."""
        try:
            return await self._files.put(owner, "", data, purpose=upload.purpose, upload_id=upload.id)
        except GoneError:
            return None

    async def complete(self, id: str, owner: str, parts: Sequence[str], md5: str | None = None) -> StoredFile | None:
        """Make a file of these parts, in this order. Other parts are dropped. Raises PartsError.

        ``md5`` is the expected checksum of the file in hexadecimal.
        """
        upload = await self.get(id, owner)
        if upload is None:
            return None
        if md5 is not None and md5.lower() != await self._md5(upload, parts):
            raise PartsError("The MD5 checksum of the parts is another one.", "md5")
        file_id = new_id("file")
        row = files.c

        def work(connection: Connection) -> StoredFile | None:
            if self._row(connection, id, owner, lock=True) is None:
                return None
            own = select(row.id, row.bytes).where(row.upload_id == id, row.ready == 1)
            sizes = {one.id: int(one.bytes) for one in connection.execute(own)}
            _check(parts, sizes, upload.size)
            now = self._now(connection)
            expires_at = None if upload.expires_s is None else now + upload.expires_s
            connection.execute(
                insert(files).values(
                    id=file_id,
                    owner=owner,
                    created_at=now,
                    expires_at=expires_at,
                    purpose=upload.purpose,
                    bytes=upload.size,
                    ready=1,
                    about=self._vault.pack({"name": upload.name, "media_type": upload.media_type}),
                )
            )
            position = 0
            for part in parts:
                moved = connection.execute(
                    update(file_pieces)
                    .where(file_pieces.c.file_id == part)
                    .values(file_id=file_id, position=file_pieces.c.position + position)
                )
                position += moved.rowcount
            connection.execute(delete(uploads).where(uploads.c.id == id))
            return StoredFile(file_id, now, expires_at, upload.purpose, upload.size, upload.name, upload.media_type)

        return await self._database.awrite(work)

    async def cancel(self, id: str, owner: str) -> Upload | None:
        """Delete an upload with its parts. Return it as it was."""
        if not can_be_id(id):
            return None

        def work(connection: Connection) -> Upload | None:
            row = self._row(connection, id, owner, lock=True)
            if row is None:
                return None
            connection.execute(delete(uploads).where(uploads.c.id == id))
            return self._upload(row)

        return await self._database.awrite(work)

    async def _md5(self, upload: Upload, parts: Sequence[str]) -> str:
        query = select(files.c.id).where(files.c.upload_id == upload.id, files.c.ready == 1)
        own = await self._database.aread(lambda connection: set(connection.execute(query).scalars()))
        counted = hashlib.md5(usedforsecurity=False)
        for part in (part for part in parts if part in own):
            async for piece in self._files.pieces(part):
                counted.update(piece)
        return counted.hexdigest()

    def _row(self, connection: Connection, id: str, owner: str, *, lock: bool = False) -> Row[Any] | None:
        row = uploads.c
        query = select(uploads).where(row.id == id, row.owner == owner, row.expires_at > self._now(connection))
        return connection.execute(query.with_for_update() if lock else query).one_or_none()

    def _upload(self, row: Row[Any]) -> Upload:
        return Upload(row.id, row.created_at, row.expires_at, int(row.bytes), **self._vault.unpack(row.about))


def _check(parts: Sequence[str], sizes: dict[str, int], wanted: int) -> None:
    if unknown := next((part for part in parts if part not in sizes), None):
        raise PartsError(f"The upload has no part {unknown!r}.", "part_ids")
    if len(set(parts)) < len(parts):
        raise PartsError("A part is named twice.", "part_ids")
    total = sum(sizes[part] for part in parts)
    if total != wanted:
        raise PartsError(f"The parts have {total} bytes, and the upload was created for {wanted}.", "part_ids")
