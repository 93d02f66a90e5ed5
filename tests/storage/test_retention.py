"""What is due is forgotten and nothing else, in small pieces, by as many proxies as like."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from storage.background import Background
from storage.base import ConflictError
from storage.chat_completions import ChatCompletions, StoredChat
from storage.conversations import Conversations
from storage.database import Database
from storage.encryption import Encryption, EncryptionKeyError
from storage.lease_renewal import LEASE_S
from storage.leases import Leases
from storage.responses import Responses
from storage.retention import DAY_S, Limits, Retention, Swept
from storage.sessions import NEW, Sessions
from storage.tables import (
    chat_completions,
    conversation_items,
    conversations,
    response_events,
    responses,
    session_messages,
    sessions,
    tickets,
)
from tests.storage.kept import ME, YOU, Clock, assistant, chain, count, response, user

pytestmark = pytest.mark.anyio

NEVER = Limits(None, None, None, None, None, None, None)
BEGIN = Clock().now


@pytest.fixture
def kept(database: Database, clock: Clock) -> Responses:
    return Responses(database, clock=clock)


def keeping(database: Database, batch: int = 3, max_batches: int = 100, **limits: Any) -> Retention:
    return Retention(database, replace(NEVER, **limits), batch=batch, max_batches=max_batches)


def chat(name: str, created_at: float = BEGIN, owner: str = ME) -> StoredChat:
    return StoredChat(name, owner, created_at, "m", b"{}", ())


def ids(database: Database) -> str:
    """What can still be named of what the tests call by one letter."""
    queries = (
        select(func.replace(responses.c.id, "resp_", "")).where(responses.c.hidden_at.is_(None)),
        select(chat_completions.c.id),
        select(sessions.c.id),
    )
    found = [database.read(lambda c, query=query: c.execute(query).scalars().all()) for query in queries]  # type: ignore[misc]
    return "".join(sorted(id for some in found for id in some))


@pytest.mark.parametrize("field", Limits.__slots__)
def test_nothing_is_limited_by_less_than_nothing(field: str) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        replace(NEVER, **{field: -1})


async def test_nothing_is_due_in_an_empty_database(database: Database) -> None:
    assert await Retention(database).sweep() == Swept()


# By time.


async def test_a_sweep_deletes_only_old_responses(kept: Responses, database: Database) -> None:
    for n, name in enumerate("abcdefgh"):
        await kept.put(response(name, created_at=BEGIN + n))
    swept = await keeping(database, responses_s=DAY_S).sweep(BEGIN + DAY_S + 4)

    assert swept == Swept(responses=5)
    assert ids(database) == "fgh"
    assert count(database, responses) == 3


async def test_history_that_a_younger_response_continues_is_kept(kept: Responses, database: Database) -> None:
    old = await chain(kept, "abc")
    young = await chain(kept, "d", old, created_at=BEGIN + 10)
    swept = await keeping(database, responses_s=DAY_S).sweep(BEGIN + DAY_S)

    assert swept.responses == 3
    assert ids(database) == "d"
    assert await kept.conversation_items("resp_d", ME) == young.conversation
    await keeping(database, responses_s=DAY_S).sweep(BEGIN + DAY_S + 10)
    assert count(database, responses) == 0


async def test_a_sweep_finds_rows_left_by_concurrent_deletions(kept: Responses, database: Database) -> None:
    await chain(kept, "abc")
    database.write(lambda connection: connection.execute(update(responses).values(hidden_at=BEGIN)) and None)
    await keeping(database).sweep(BEGIN)

    assert count(database, responses) == 0


async def test_chat_completions_go_by_their_age(database: Database) -> None:
    chats = ChatCompletions(database)
    for n, name in enumerate("abcdef"):
        await chats.put(chat(name, BEGIN + n))

    assert await keeping(database, chat_completions_s=10).sweep(BEGIN + 14) == Swept(chat_completions=5)
    assert ids(database) == "f"


async def test_conversations_go_by_their_last_use(database: Database, clock: Clock) -> None:
    held = Conversations(database, clock=clock)
    made = [await held.create(ME, items=(user("a"),)) for _ in range(5)]
    clock.now += 10
    await held.add_items(made[3].id, ME, (user("b"),))
    swept = await keeping(database, conversations_s=20).sweep(clock.now + 10)

    assert swept == Swept(conversations=4)
    assert [one.id for one in made if await held.get(one.id, ME)] == [made[3].id]
    assert (count(database, conversations), count(database, conversation_items)) == (1, 2)


async def test_a_conversation_that_a_response_goes_on_from_stays_for_it(
    kept: Responses, database: Database, clock: Clock
) -> None:
    held = Conversations(database, clock=clock)
    made = await held.create(ME, items=(assistant("hello"),))
    await kept.put(response("a", (assistant("hello"),), conversation_id=made.id))
    await keeping(database, conversations_s=20).sweep(clock.now + 20)

    assert await held.get(made.id, ME) is None
    found = await kept.conversation_items("resp_a", ME)
    assert found and len(found) == 3
    # Should its last response go without taking it along, it is found later.
    database.write(lambda connection: connection.execute(responses.delete()) and None)
    await keeping(database).sweep(clock.now)
    assert count(database, conversations) == 0


async def test_sessions_go_when_they_were_idle_for_so_long(database: Database, clock: Clock) -> None:
    kept = Sessions(database, clock=clock)
    for name in "abcde":
        await kept.append(ME, name, ({"role": "user", "content": name},), NEW)
    clock.now += 10
    await kept.load(ME, "c")

    assert await keeping(database, sessions_idle_s=20).sweep(clock.now + 10) == Swept(sessions=4)
    assert ids(database) == "c"
    assert count(database, session_messages) == 1


async def test_events_go_some_time_after_their_response_ended(database: Database, clock: Clock) -> None:
    worker = Background(database, clock=clock)
    for name in "ab":
        await worker.begin(response(name, output=(), status="queued"))
        await worker.append_events(f"resp_{name}", [(n, b"{}") for n in range(5)])
    await worker.finish("resp_a", "completed", b"{}")

    assert await keeping(database, events_s=10).sweep(clock.now + 9) == Swept()
    assert await keeping(database, events_s=10).sweep(clock.now + 10) == Swept(events_of=1)
    assert count(database, response_events) == 5
    row = database.read(lambda c: c.execute(select(responses).where(responses.c.id == "resp_a")).one())
    assert row.size == len(row.body) + len(row.own_items)


async def test_a_sweep_keeps_running_responses(database: Database, clock: Clock) -> None:
    worker = Background(database, clock=clock)
    await worker.begin(response("a", output=(), status="queued"))
    strict = keeping(database, responses_s=0.0, events_s=0.0, max_rows=0, max_bytes=0)

    assert (await strict.sweep(clock.now)).responses == 0
    await worker.finish("resp_a", "completed", b"{}")
    assert (await strict.sweep(clock.now)).responses == 1


async def test_tickets_of_the_dead_go(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock=clock)
    async with leases.hold("x", wait_s=0):
        assert await keeping(database).sweep(clock.now + LEASE_S - 1) == Swept()
        assert await keeping(database).sweep(clock.now + LEASE_S) == Swept(tickets=1)
    assert count(database, tickets) == 0


# By owner.


async def test_an_owners_oldest_objects_of_any_kind_are_deleted_first(
    kept: Responses, database: Database, clock: Clock
) -> None:
    chats, kept_sessions = ChatCompletions(database), Sessions(database, clock=clock)
    for n, name in enumerate("adgj"):
        await kept.put(response(name, created_at=BEGIN + 3 * n))
        await chats.put(chat("behk"[n], BEGIN + 3 * n + 1))
        clock.now = BEGIN + 3 * n + 2
        await kept_sessions.append(ME, "cfil"[n], ({"role": "user"},), NEW)
    for name in "xyz":
        await kept.put(response(name, owner=YOU, created_at=BEGIN - 100))
    swept = await keeping(database, max_rows=5).sweep(BEGIN)

    assert ids(database) == "hijkl" + "xyz"
    assert (swept.responses, swept.chat_completions, swept.sessions) == (3, 2, 2)


async def test_an_owners_oldest_objects_are_deleted_beyond_the_size_limit(kept: Responses, database: Database) -> None:
    size = [100, 5000, 100, 2000, 2000, 100]
    for n, name in enumerate("abcdef"):
        await kept.put(response(name, created_at=BEGIN + n, body=b"x" * size[n]))
    await kept.put(response("x", owner=YOU, created_at=BEGIN, body=b"x" * 3000))
    one = database.read(lambda c: c.execute(select(func.min(responses.c.size))).scalar_one()) - 100
    await keeping(database, max_bytes=2 * (2000 + one) + 100 + one).sweep(BEGIN)

    assert ids(database) == "defx"


async def test_the_older_bodies_of_a_large_chain_are_deleted_first(kept: Responses, database: Database) -> None:
    last = None
    for n, name in enumerate("abcdef"):
        last = await chain(kept, name, last, created_at=BEGIN + n, body=b"x" * 10_000)
    assert last
    await keeping(database, max_bytes=25_000).sweep(BEGIN)

    assert ids(database) == "ef"
    assert await kept.conversation_items("resp_f", ME) == last.conversation


async def test_a_chain_whose_items_alone_are_too_much_goes_in_the_end(kept: Responses, database: Database) -> None:
    await chain(kept, "abcdef")
    await keeping(database, max_bytes=300).sweep(BEGIN)

    assert count(database, responses) == 0


async def test_conversations_count_for_their_owner(database: Database, clock: Clock) -> None:
    held = Conversations(database, clock=clock)
    made = []
    for n in range(5):
        clock.now = BEGIN + n
        made.append(await held.create(ME, items=(user("x" * 1000),)))
    await keeping(database, max_bytes=3000).sweep(BEGIN)

    assert [bool(await held.get(one.id, ME)) for one in made] == [False, False, False, True, True]


# In pieces.


async def test_a_sweep_ends_after_so_many_batches_and_the_next_goes_on(kept: Responses, database: Database) -> None:
    for n in range(10):
        await kept.put(response(f"{n}"))
    limited = keeping(database, batch=2, max_batches=3, responses_s=0.0)

    assert await limited.sweep(BEGIN) == Swept(responses=6, more=True)
    assert count(database, responses) == 4
    assert (await limited.sweep(BEGIN)).more
    assert count(database, responses) == 0
    assert await keeping(database, batch=2, max_batches=20, responses_s=0.0).sweep(BEGIN) == Swept()


async def test_two_proxies_that_sweep_at_once_take_everything_once(
    kept: Responses, database: Database, other: Database
) -> None:
    chats = ChatCompletions(database)
    last = None
    for n in range(30):
        last = await chain(kept, f"{n % 10}", None if n % 10 == 0 else last, id=f"resp_{n}")
        await chats.put(chat(f"{n}"))
    swept = await asyncio.gather(
        *(keeping(where, responses_s=0.0, chat_completions_s=0.0).sweep(BEGIN) for where in (database, other) * 2)
    )

    # What another had in hand was passed over; it may still be hidden.
    swept.append(await keeping(database).sweep(BEGIN))
    assert (sum(one.responses for one in swept), sum(one.chat_completions for one in swept)) == (30, 30)
    assert (count(database, responses), count(database, chat_completions)) == (0, 0)


async def test_a_continuation_made_during_a_sweep_has_its_whole_history(
    kept: Responses, database: Database, other: Database
) -> None:
    last = await chain(kept, "a")
    for n in range(20):
        before = last.conversation
        young = response(f"{n}", before, previous_id=last.id, created_at=BEGIN + n + 1)
        sweeper, at = keeping(database, responses_s=0.0), last.created_at
        await asyncio.gather(Responses(other).put(young), sweeper.sweep(at))
        assert await kept.conversation_items(young.id, ME) == young.conversation
        # It was passed over if the other had it in hand just then.
        await sweeper.sweep(at)

        assert await kept.conversation_items(young.id, ME) == young.conversation
        assert await kept.get(last.id, ME) is None
        last = young


# Keys.


async def keep_something(kind: str, database: Database, encryption: Encryption | None) -> None:
    match kind:
        case "response":
            await Responses(database, encryption).put(response("a"))
        case "conversation":
            await Conversations(database, encryption).create(ME)
        case "item":
            made = await Conversations(database).create(ME)
            await Conversations(database, encryption).add_items(made.id, ME, (user("a"),))
        case "chat completion":
            await ChatCompletions(database, encryption).put(chat("a"))
        case "session":
            await Sessions(database, encryption).append(ME, "a", ({"role": "user"},), NEW)


@pytest.mark.parametrize("kind", ["response", "conversation", "item", "chat completion", "session"])
async def test_a_key_that_does_not_open_what_is_kept_is_told_at_the_start(database: Database, kind: str) -> None:
    check = Retention(database).check
    right, wrong = Encryption([Encryption.new_key()]), Encryption([Encryption.new_key()])
    await check(wrong)
    await keep_something(kind, database, right)

    await check(right)
    with pytest.raises(EncryptionKeyError, match="no key"):
        await check(Encryption())
    with pytest.raises(EncryptionKeyError, match="another key"):
        await check(wrong)


@pytest.mark.parametrize("kind", ["response", "conversation", "item", "chat completion", "session"])
async def test_any_key_will_do_at_the_start_for_what_is_readable(database: Database, kind: str) -> None:
    await keep_something(kind, database, None)

    await Retention(database).check(Encryption([Encryption.new_key()]))


async def test_encrypted_data_is_not_readable_without_its_key(database: Database) -> None:
    await Responses(database, Encryption([Encryption.new_key()])).put(response("a"))
    for encryption, message in ((Encryption(), "no key"), (Encryption([Encryption.new_key()]), "another key")):
        kept = Responses(database, encryption)
        with pytest.raises(EncryptionKeyError, match=message):
            await kept.get("resp_a", ME)
        with pytest.raises(EncryptionKeyError, match=message):
            await kept.conversation_items("resp_a", ME)
        # Ids, owners and times are readable: who has lost the key can still delete.
        with pytest.raises(ConflictError):
            await kept.put(response("a"))
        assert (await keeping(database, max_rows=1).sweep(BEGIN)).responses == 0
    assert await Responses(database).delete("resp_a", ME)
