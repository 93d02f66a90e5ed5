"""Files are stored whole or not at all, within quotas, for their owner alone."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from storage import files as module
from storage.database import Database
from storage.encryption import Encryption, EncryptionKeyError
from storage.files import PIECE_BYTES, UNFINISHED_S, Files, Quota, QuotaError, StoredFile
from storage.pagination import UnknownCursorError
from storage.retention import Retention, Swept
from storage.tables import file_pieces, files
from tests.storage.kept import ME, YOU, Clock, count

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * (5 * PIECE_BYTES // 256) + b"end"


@pytest.fixture(params=[(), (Encryption.new_key(),)], ids=["readable", "encrypted"])
def kept(database: Database, clock: Clock, request: pytest.FixtureRequest) -> Files:
    return Files(database, Encryption(request.param), clock=clock)


async def put(kept: Files, name: str = "a.txt", data: bytes = b"abc", owner: str = ME, **more: Any) -> StoredFile:
    return await kept.put(owner, name, data, **{"purpose": "user_data", **more})


@pytest.mark.parametrize("data", [b"", b"fernet:\0\xff", BIG], ids=["empty", "small", "in pieces"])
async def test_a_file_comes_back_as_it_was(kept: Files, data: bytes, clock: Clock) -> None:
    made = await put(kept, "é.bin", data, media_type="text/plain", expires_s=10)

    assert made == StoredFile(made.id, clock.now, clock.now + 10, "user_data", len(data), "é.bin", "text/plain")
    assert made.id.startswith("file-")
    assert await kept.get(made.id, ME) == made
    assert await kept.read(made.id) == data


async def test_what_is_anothers_is_not_there(kept: Files) -> None:
    made = await put(kept)

    assert await kept.get(made.id, YOU) is None
    assert (await kept.list(YOU)).data == ()
    assert not await kept.delete(made.id, YOU)
    with pytest.raises(UnknownCursorError):
        await kept.list(YOU, after=made.id)
    assert await kept.get(made.id, ME) == made


@pytest.mark.parametrize("id", ["", "\0", "file-unknown"])
async def test_an_id_that_nothing_has_is_not_there(kept: Files, id: str) -> None:
    assert await kept.get(id, ME) is None
    assert not await kept.delete(id, ME)
    assert (await kept.list(ME, purpose=id)).data == ()
    with pytest.raises(UnknownCursorError):
        await kept.list(ME, after=id)


async def test_files_are_listed_by_age_and_purpose(kept: Files, clock: Clock) -> None:
    ids: dict[str, str] = {}
    for name in "abcd":
        made = await put(kept, name, purpose="batch" if name in "bd" else "user_data")
        ids[name] = made.id
        clock.now += 1

    async def names(**wish: Any) -> str:
        page = await kept.list(ME, **wish)
        return "".join(one.name for one in page.data) + "+" * page.has_more

    assert await names() == "dcba"
    assert await names(order="asc", limit=2) == "ab+"
    assert await names(order="asc", after=ids["b"]) == "cd"
    assert await names(after=ids["c"], limit=2) == "ba"
    assert await names(purpose="batch") == "db"
    assert await names(purpose="batch", after=ids["d"]) == "b"


async def test_a_file_expires(kept: Files, clock: Clock, database: Database) -> None:
    made, other = await put(kept, expires_s=10), await put(kept, "b", expires_s=11)
    clock.now += 10

    assert await kept.get(made.id, ME) is None
    assert [one.id for one in (await kept.list(ME)).data] == [other.id]
    assert not await kept.delete(made.id, ME)
    assert await Retention(database).sweep(clock.now) == Swept(files=1)
    assert (count(database, files), count(database, file_pieces)) == (1, 1)


async def test_a_deleted_file_is_gone_with_its_bytes(kept: Files, database: Database) -> None:
    made = await put(kept, data=BIG)

    assert await kept.delete(made.id, ME)
    assert not await kept.delete(made.id, ME)
    assert (count(database, files), count(database, file_pieces)) == (0, 0)
    assert await kept.read(made.id) == b""


async def test_a_file_that_is_not_whole_cannot_be_read_and_is_swept(
    kept: Files, database: Database, clock: Clock
) -> None:
    made = await kept.begin(ME, "a", 6, purpose="user_data")
    assert await kept.write(made.id, 0, [b"abc"]) == 1

    assert await kept.get(made.id, ME) is None
    assert (await kept.list(ME)).data == ()
    assert await Retention(database).sweep(clock.now + UNFINISHED_S - 1) == Swept()
    assert await kept.write(made.id, 1, [b"def"]) == 2
    await kept.finish(made.id)
    assert await kept.read(made.id) == b"abcdef"
    assert await Retention(database).sweep(clock.now + UNFINISHED_S) == Swept()

    await kept.begin(ME, "b", 6, purpose="user_data")
    assert await Retention(database).sweep(clock.now + UNFINISHED_S) == Swept(files=1)
    assert await kept.get(made.id, ME) is not None


async def test_a_file_that_cannot_be_written_leaves_nothing(
    kept: Files, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> int:
        raise RuntimeError("a defect")

    monkeypatch.setattr(kept, "write", fail)
    with pytest.raises(RuntimeError):
        await put(kept)

    assert count(database, files) == 0


async def test_an_owner_has_a_quota_and_all_have_one(database: Database) -> None:
    kept = Files(database, quota=Quota(owner_bytes=10, total_bytes=15))
    first = await put(kept, data=b"1234567")

    with pytest.raises(QuotaError, match="11 bytes, and 10 are"):
        await put(kept, data=b"1234")
    await put(kept, data=b"123")
    with pytest.raises(QuotaError, match="all keys"):
        await put(kept, data=b"123456", owner=YOU)
    await kept.delete(first.id, ME)
    await put(kept, data=b"123456", owner=YOU)


async def test_without_limits_there_is_always_room(database: Database) -> None:
    kept = Files(database, quota=Quota(None, None))

    assert await kept.get((await put(kept)).id, ME) is not None


async def test_files_have_a_number_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    kept = Files(database)
    await put(kept)
    await put(kept)

    with pytest.raises(QuotaError, match="2 files"):
        await put(kept)
    await put(kept, owner=YOU)


async def test_of_many_files_at_once_no_more_are_stored_than_the_quota_has_room_for(
    database: Database, other: Database
) -> None:
    stores = [Files(one, quota=Quota(owner_bytes=10)) for one in (database, other)]

    done = await asyncio.gather(
        *(put(store, str(n), b"abc") for n in range(6) for store in stores), return_exceptions=True
    )

    assert sum(isinstance(one, StoredFile) for one in done) == 3
    assert all(isinstance(one, StoredFile | QuotaError) for one in done)
    assert count(database, files) == 3


async def test_nothing_of_a_file_can_be_read_in_an_encrypted_database(database: Database) -> None:
    key = Encryption.new_key()
    made = await put(Files(database, Encryption([key])), "secret.txt", b"a secret")

    about = database.read(lambda connection: connection.execute(select(files.c.about)).scalar_one())
    data = database.read(lambda connection: connection.execute(select(file_pieces.c.data)).scalar_one())
    assert about.startswith("fernet:")
    assert b"secret" not in bytes(data)
    with pytest.raises(EncryptionKeyError, match="no key"):
        await Files(database).read(made.id)
    with pytest.raises(EncryptionKeyError, match="another key"):
        await Files(database, Encryption([Encryption.new_key()])).read(made.id)
    with pytest.raises(EncryptionKeyError):
        await Retention(database).check(Encryption())
