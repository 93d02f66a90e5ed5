"""Sessions grow from the version that was read or not at all, and are gone when nobody used them."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from storage.base import ConflictError
from storage.database import Database
from storage.encryption import Encryption
from storage.leases import BusyError
from storage.pagination import UnknownCursorError
from storage.sessions import NEW, Session, Sessions, SessionStats, Totals
from storage.tables import session_messages, sessions
from tests.storage.kept import ME, YOU, Clock, count

pytestmark = pytest.mark.anyio


def said(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


@pytest.fixture
def kept(database: Database, clock: Clock) -> Sessions:
    return Sessions(database, clock=clock, poll_s=0.005)


@pytest.fixture
def others(other: Database, clock: Clock) -> Sessions:
    return Sessions(other, clock=clock, poll_s=0.005)


async def test_a_session_that_is_not_there_is_empty(kept: Sessions) -> None:
    assert await kept.load(ME, "chat") == Session((), NEW)
    assert await kept.stats(ME, "chat") is None
    assert not await kept.delete(ME, "chat")


async def test_a_session_grows_in_order_for_all_proxies(kept: Sessions, others: Sessions) -> None:
    version = await kept.append(ME, "my chat", (said("one"), said("two", "assistant")), NEW)
    loaded = await others.load(ME, "my chat")
    assert loaded == Session((said("one"), said("two", "assistant")), version)
    version = await others.append(ME, "my chat", (said("three"),), loaded.version)

    assert await kept.load(ME, "my chat") == Session((*loaded.messages, said("three")), version)


async def test_sessions_of_other_owners_are_separate(kept: Sessions) -> None:
    version = await kept.append(ME, "chat", (said("mine"),), NEW)
    await kept.append(YOU, "chat", (said("yours"),), NEW)

    with pytest.raises(ConflictError):
        await kept.append(YOU, "chat", (said("mine"),), version)
    assert (await kept.load(YOU, "chat")).messages == (said("yours"),)
    assert [one.owner for one in (await kept.list(ME)).data] == [ME]
    assert await kept.delete(YOU, "chat")
    assert (await kept.load(ME, "chat")).messages == (said("mine"),)


@pytest.mark.parametrize("id", ["", "a\0", "x" * 600])
async def test_an_invalid_session_id_is_refused(kept: Sessions, id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        await kept.load(ME, id)
    with pytest.raises(ValueError, match="id"):
        await kept.append(ME, id, (), NEW)
    with pytest.raises(ValueError, match="id"):
        async with kept.hold(ME, id, wait_s=0):
            pytest.fail("it can be held")
    assert await kept.stats(ME, id) is None
    assert not await kept.delete(ME, id)


# At once.


@pytest.mark.parametrize("first", [True, False], ids=["a new session", "one that is there"])
async def test_the_second_of_two_concurrent_requests_gets_a_conflict(
    kept: Sessions, others: Sessions, first: bool
) -> None:
    for turn in range(20):
        id = f"chat {turn}"
        version = NEW if first else await kept.append(ME, id, (said("before"),), NEW)
        tried = await asyncio.gather(
            kept.append(ME, id, (said("a"), said("a")), version),
            others.append(ME, id, (said("b"), said("b")), version),
            return_exceptions=True,
        )

        assert {type(one) for one in tried} == {str, ConflictError}
        loaded = await kept.load(ME, id)
        assert loaded.version in tried
        assert [one["content"] for one in loaded.messages[-2:]] in (["a", "a"], ["b", "b"])
        assert len(loaded.messages) == (2 if first else 3)


@pytest.mark.parametrize("version", [NEW, "no version", "0.0"])
async def test_an_old_version_is_a_conflict_and_changes_nothing(kept: Sessions, version: str) -> None:
    old = await kept.append(ME, "chat", (said("one"),), NEW)
    new = await kept.append(ME, "chat", (said("two"),), old)
    for wrong in (old, version):
        with pytest.raises(ConflictError):
            await kept.append(ME, "chat", (said("three"),), wrong)

    assert await kept.load(ME, "chat") == Session((said("one"), said("two")), new)


async def test_a_session_that_was_deleted_and_made_anew_has_another_version(kept: Sessions) -> None:
    version = await kept.append(ME, "chat", (said("one"),), NEW)
    await kept.delete(ME, "chat")
    with pytest.raises(ConflictError):
        await kept.append(ME, "chat", (said("two"),), version)
    await kept.append(ME, "chat", (said("new"),), NEW)
    with pytest.raises(ConflictError):
        await kept.append(ME, "chat", (said("two"),), version)

    assert (await kept.load(ME, "chat")).messages == (said("new"),)


async def test_a_session_is_held_by_one_at_a_time_whoever_it_is_and_there_or_not(
    kept: Sessions, others: Sessions
) -> None:
    async with kept.hold(ME, "chat", wait_s=0):
        with pytest.raises(BusyError):
            async with others.hold(ME, "chat", wait_s=0):
                pytest.fail("two have it")
        async with others.hold(ME, "another", wait_s=0), others.hold(YOU, "chat", wait_s=0):
            pass


async def test_a_session_that_is_held_is_answered_in_order(kept: Sessions, others: Sessions) -> None:
    async def answer(n: int) -> None:
        where = (kept, others)[n % 2]
        async with where.hold(ME, "chat", wait_s=60):
            session = await where.load(ME, "chat")
            question = said(f"{n}: there are {len(session.messages)}")
            await where.append(ME, "chat", (question, said(str(n), "assistant")), session.version)

    await asyncio.gather(*map(answer, range(12)))

    contents = [message["content"] for message in (await kept.load(ME, "chat")).messages]
    assert sorted(contents[1::2], key=int) == [str(n) for n in range(12)]
    assert contents[::2] == [f"{n}: there are {2 * place}" for place, n in enumerate(contents[1::2])]


# What they come to, and when they are gone.


async def test_a_session_tells_what_it_comes_to(kept: Sessions, clock: Clock) -> None:
    made_at = clock.now
    version = await kept.append(ME, "chat", (said("one"), said("two")), NEW, tokens=30)
    clock.now += 100
    await kept.append(ME, "chat", (said("three"),), version, tokens=12)

    assert await kept.stats(ME, "chat") == SessionStats("chat", ME, made_at, made_at + 100, 3, 42)


async def test_all_sessions_together_tell_what_they_come_to(kept: Sessions) -> None:
    assert await kept.totals() == Totals(0, 0, 0)
    await kept.append(ME, "a", (said("one"),), NEW, tokens=1)
    await kept.append(ME, "b", (said("one"), said("two")), NEW, tokens=2)
    await kept.append(YOU, "a", (said("one"),), NEW, tokens=4)

    assert await kept.totals(ME) == Totals(2, 3, 3)
    assert await kept.totals() == Totals(3, 4, 7)


async def test_sessions_are_listed_in_pieces_the_last_used_first(kept: Sessions, clock: Clock) -> None:
    for id in "abc":
        clock.now += 10
        await kept.append(ME, id, (said("one"),), NEW)
    clock.now += 10
    await kept.append(YOU, "d", (said("one"),), NEW)
    clock.now += 10
    await kept.load(ME, "a")

    assert [one.id for one in (await kept.list()).data] == ["a", "d", "c", "b"]
    first = await kept.list(ME, limit=2)
    assert ([one.id for one in first.data], first.has_more) == (["a", "c"], True)
    rest = await kept.list(ME, limit=2, after="c")
    assert ([one.id for one in rest.data], rest.has_more) == (["b"], False)
    for owner, after in ((ME, "d"), (None, "a"), (ME, "\0")):
        with pytest.raises(UnknownCursorError):
            await kept.list(owner, after=after)


async def test_a_deleted_session_leaves_nothing(kept: Sessions, database: Database) -> None:
    await kept.append(ME, "chat", (said("one"),), NEW)

    assert await kept.delete(ME, "chat")
    assert (count(database, sessions), count(database, session_messages)) == (0, 0)


async def test_a_session_that_nobody_used_for_so_long_is_gone_at_once(database: Database, clock: Clock) -> None:
    kept = Sessions(database, clock=clock, idle_s=100)
    version = await kept.append(ME, "chat", (said("one"),), NEW)
    clock.now += 99.5
    assert (await kept.load(ME, "chat")).version == version
    clock.now += 100

    assert await kept.stats(ME, "chat") is None
    assert await kept.totals() == Totals(0, 0, 0)
    assert (await kept.list()).data == ()
    assert await kept.load(ME, "chat") == Session((), NEW)
    with pytest.raises(ConflictError):
        await kept.append(ME, "chat", (said("two"),), version)
    await kept.append(ME, "chat", (said("new"),), NEW)
    assert (await kept.load(ME, "chat")).messages == (said("new"),)
    clock.now += 100
    assert not await kept.delete(ME, "chat")
    assert count(database, session_messages) == 0


async def test_sessions_may_be_kept_for_ever(database: Database, clock: Clock) -> None:
    kept = Sessions(database, clock=clock, idle_s=None)
    await kept.append(ME, "chat", (said("one"),), NEW)
    clock.now += 1e9

    assert (await kept.load(ME, "chat")).messages == (said("one"),)
    assert await kept.totals() == Totals(1, 1, 0)


async def test_nothing_that_was_said_can_be_read_in_an_encrypted_database(database: Database) -> None:
    kept = Sessions(database, Encryption([Encryption.new_key()]))
    await kept.append(ME, "chat", (said("one"),), NEW)

    assert (await kept.load(ME, "chat")).messages == (said("one"),)
    query = select(session_messages.c.message)
    assert database.read(lambda connection: connection.execute(query).scalar_one()).startswith("fernet:")
