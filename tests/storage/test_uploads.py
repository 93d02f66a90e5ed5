"""A file that comes in parts is the same file."""

import asyncio
import hashlib
from typing import Any

import pytest

from storage.database import Database
from storage.encryption import Encryption
from storage.files import PIECE_BYTES, Files, Quota, QuotaError, StoredFile
from storage.retention import Retention, Swept
from storage.tables import file_pieces, files, uploads
from storage.uploads import OPEN_S, PartsError, Upload, Uploads
from tests.storage.kept import ME, YOU, Clock, count

pytestmark = pytest.mark.anyio

ONE, TWO = b"1" * (PIECE_BYTES + 5), b"2" * (2 * PIECE_BYTES)


@pytest.fixture
def kept(database: Database, clock: Clock) -> Files:
    return Files(database, Encryption([Encryption.new_key()]), Quota(owner_bytes=5 * PIECE_BYTES), clock=clock)


@pytest.fixture
def sent(kept: Files, database: Database, clock: Clock) -> Uploads:
    return Uploads(database, kept._vault, kept, clock=clock)


async def begin(sent: Uploads, size: int, expires_s: float | None = None) -> Upload:
    return await sent.create(ME, "a.bin", size, purpose="batch", media_type="text/plain", expires_s=expires_s)


async def add(sent: Uploads, upload: Upload, data: bytes) -> StoredFile:
    part = await sent.add(upload, ME, data)
    assert part is not None
    return part


async def test_parts_become_a_file_in_the_order_that_is_asked_for(
    sent: Uploads, kept: Files, database: Database, clock: Clock
) -> None:
    upload = await begin(sent, len(ONE + TWO), expires_s=100)
    two, dropped, one = [await add(sent, upload, data) for data in (TWO, b"x", ONE)]
    assert await sent.size(upload.id) == len(ONE + TWO) + 1
    assert (await kept.list(ME)).data == ()
    assert await kept.get(one.id, ME) is None

    checksum = hashlib.md5(ONE + TWO, usedforsecurity=False).hexdigest().upper()
    made = await sent.complete(upload.id, ME, [one.id, two.id], checksum)

    assert made is not None
    assert made == StoredFile(made.id, clock.now, clock.now + 100, "batch", len(ONE + TWO), "a.bin", "text/plain")
    assert await kept.get(made.id, ME) == made
    assert await kept.read(made.id) == ONE + TWO
    assert await sent.complete(upload.id, ME, [one.id, two.id]) is None
    assert [count(database, table) for table in (files, uploads, file_pieces)] == [1, 0, 4]
    assert dropped.id.startswith("part_")


async def test_what_is_anothers_is_not_there(sent: Uploads) -> None:
    upload = await begin(sent, 1)
    part = await add(sent, upload, b"x")

    assert await sent.get(upload.id, YOU) is None
    assert await sent.complete(upload.id, YOU, [part.id]) is None
    assert await sent.cancel(upload.id, YOU) is None
    assert await sent.get(upload.id, ME) == upload


@pytest.mark.parametrize("id", ["", "\0", "upload_unknown"])
async def test_an_id_that_nothing_has_is_not_there(sent: Uploads, id: str) -> None:
    assert await sent.get(id, ME) is None
    assert await sent.complete(id, ME, []) is None
    assert await sent.cancel(id, ME) is None


async def test_parts_that_do_not_fit_are_refused_and_the_upload_stays_open(sent: Uploads) -> None:
    upload, other = await begin(sent, 3), await begin(sent, 3)
    part, foreign = await add(sent, upload, b"abc"), await add(sent, other, b"abc")

    for parts, md5, param in (
        ([foreign.id], None, "part_ids"),
        ([part.id, part.id], None, "part_ids"),
        ([], None, "part_ids"),
        ([part.id], "0" * 32, "md5"),
    ):
        with pytest.raises(PartsError) as raised:
            await sent.complete(upload.id, ME, parts, md5)
        assert raised.value.param == param
    assert await sent.complete(upload.id, ME, [part.id]) is not None


async def test_a_cancelled_upload_is_gone_with_its_parts(sent: Uploads, database: Database) -> None:
    upload = await begin(sent, 3)
    await add(sent, upload, b"abc")

    assert await sent.cancel(upload.id, ME) == upload
    assert await sent.cancel(upload.id, ME) is None
    assert [count(database, table) for table in (files, uploads, file_pieces)] == [0, 0, 0]


@pytest.mark.parametrize("step", ["begin", "write", "finish"])
@pytest.mark.parametrize("end", ["cancel", "complete", "expire"])
async def test_a_part_of_an_upload_that_ends_meanwhile_is_dropped(
    sent: Uploads, kept: Files, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str, end: str
) -> None:
    upload = await begin(sent, 3)
    part = await add(sent, upload, b"abc")
    real = getattr(kept, step)

    async def after_the_end(*given: Any, **more: Any) -> Any:
        if end == "cancel":
            assert await sent.cancel(upload.id, ME) is not None
        elif end == "complete":
            assert await sent.complete(upload.id, ME, [part.id]) is not None
        else:
            await Retention(database).sweep(clock.now + OPEN_S)
        return await real(*given, **more)

    monkeypatch.setattr(kept, step, after_the_end)
    assert await sent.add(upload, ME, b"def") is None
    left = 1 if end == "complete" else 0
    assert [count(database, table) for table in (files, uploads, file_pieces)] == [left, 0, left]


async def test_an_upload_expires(sent: Uploads, database: Database, clock: Clock) -> None:
    upload = await begin(sent, 3)
    part = await add(sent, upload, b"abc")
    clock.now += OPEN_S

    assert await sent.get(upload.id, ME) is None
    assert await sent.complete(upload.id, ME, [part.id]) is None
    assert (await Retention(database).sweep(clock.now)) == Swept(uploads=1)
    assert [count(database, table) for table in (files, uploads, file_pieces)] == [0, 0, 0]


async def test_parts_count_towards_the_quota(sent: Uploads) -> None:
    upload = await begin(sent, 6 * PIECE_BYTES)
    await add(sent, upload, TWO)
    await add(sent, upload, TWO)

    with pytest.raises(QuotaError):
        await sent.add(upload, ME, TWO)


async def test_an_upload_is_completed_once(sent: Uploads, database: Database) -> None:
    upload = await begin(sent, 3)
    part = await add(sent, upload, b"abc")

    done = await asyncio.gather(*(sent.complete(upload.id, ME, [part.id]) for _ in range(5)))

    assert sum(one is not None for one in done) == 1
    assert count(database, files) == 1
