"""Conversations keep their items in order, to their owner alone, whoever adds at the same time."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from storage.base import ConflictError, size_of
from storage.conversations import Conversation, Conversations
from storage.database import Database
from storage.encryption import Encryption
from storage.pagination import Page, UnknownCursorError
from storage.responses import Responses
from storage.tables import conversation_items, conversations
from tests.storage.kept import ME, YOU, Clock, Item, assistant, count, response, user

pytestmark = pytest.mark.anyio


@pytest.fixture
def held(database: Database, clock: Clock) -> Conversations:
    return Conversations(database, clock=clock)


def texts(items: tuple[Item, ...] | None) -> list[str]:
    return [item["content"][0]["text"] for item in items or ()]


def sizes(database: Database) -> tuple[int, int]:
    """What the conversation says that it takes, and what it takes."""
    query = select(conversations.c.size, conversations.c.metadata)
    size, metadata = database.read(lambda connection: connection.execute(query).one())
    items = database.read(lambda connection: connection.execute(select(conversation_items.c.item)).scalars().all())
    return size, size_of(metadata, *items)


async def test_a_conversation_comes_back_as_it_was_made_to_another_proxy(
    held: Conversations, other: Database, clock: Clock
) -> None:
    made = await held.create(ME, {"topic": "é\0"}, (user("one"), assistant("two")))

    assert made == Conversation(made.id, clock.now, {"topic": "é\0"})
    assert await Conversations(other).get(made.id, ME) == made
    items = await Conversations(other).items(made.id, ME)
    assert texts(items) == ["one", "two"]


async def test_an_item_without_an_id_is_given_one_that_says_its_type(held: Conversations) -> None:
    items: tuple[Item, ...] = (
        {"role": "user", "content": "plain"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": ""},
        {"type": "message", "id": "mine", "role": "user", "content": ""},
    )
    made = await held.create(ME)
    added = await held.add_items(made.id, ME, items)

    assert added
    assert [item["id"].partition("_")[0] for item in added] == ["msg", "fc", "item", "mine"]
    assert await held.items(made.id, ME) == added
    assert [{key: item[key] for key in item if key != "id" or item["id"] == "mine"} for item in added] == list(items)


async def test_conversations_of_other_owners_are_not_found(held: Conversations) -> None:
    made = await held.create(ME, items=(assistant("one"),))

    assert await held.get(made.id, YOU) is None
    assert await held.update(made.id, YOU, {}) is None
    assert await held.items(made.id, YOU) is None
    assert await held.list_items(made.id, YOU) is None
    assert await held.get_item(made.id, YOU, "msg_one") is None
    assert await held.add_items(made.id, YOU, (user("two"),)) is None
    assert await held.delete_item(made.id, YOU, "msg_one") is None
    assert not await held.delete(made.id, YOU)
    assert texts(await held.items(made.id, ME)) == ["one"]


@pytest.mark.parametrize("id", ["", "conv_\0", "conv_unknown"])
async def test_an_id_that_nothing_has_is_not_there(held: Conversations, id: str) -> None:
    made = await held.create(ME)

    assert await held.get(id, ME) is None
    assert await held.update(id, ME, {}) is None
    assert await held.items(id, ME) is None
    assert await held.list_items(id, ME) is None
    assert await held.get_item(id, ME, "msg") is None
    assert await held.get_item(made.id, ME, id) is None
    assert await held.add_items(id, ME, ()) is None
    assert await held.delete_item(id, ME, "msg") is None
    assert await held.delete_item(made.id, ME, id) is None
    assert not await held.delete(id, ME)


async def test_metadata_is_replaced(held: Conversations, database: Database) -> None:
    made = await held.create(ME, {"a": "1", "b": "2"})
    changed = await held.update(made.id, ME, {"c": "a longer one"})

    assert changed == await held.get(made.id, ME) == Conversation(made.id, made.created_at, {"c": "a longer one"})
    assert len(set(sizes(database))) == 1


@pytest.mark.parametrize(
    ("wish", "expected", "has_more"),
    [
        pytest.param({}, "43210", False, id="the last comes first"),
        pytest.param({"limit": 2}, "43", True, id="so many"),
        pytest.param({"limit": 2, "after": "msg_3"}, "21", True, id="after one"),
        pytest.param({"order": "asc", "limit": 3}, "012", True, id="the oldest first"),
        pytest.param({"order": "asc", "limit": 3, "after": "msg_1"}, "234", False, id="the oldest after one"),
        pytest.param({"after": "msg_0"}, "", False, id="after the last"),
    ],
)
async def test_items_come_in_pieces(held: Conversations, wish: dict[str, Any], expected: str, has_more: bool) -> None:
    made = await held.create(ME, items=tuple(assistant(str(n)) for n in range(5)))

    page = await held.list_items(made.id, ME, **wish)
    assert page
    assert ("".join(texts(page.data)), page.has_more) == (expected, has_more)


@pytest.mark.parametrize("cursor", ["msg_unknown", "\0", ""])
async def test_items_after_one_that_is_not_there_are_an_error(held: Conversations, cursor: str) -> None:
    made = await held.create(ME, items=(assistant("a"),))

    with pytest.raises(UnknownCursorError):
        await held.list_items(made.id, ME, after=cursor)


async def test_an_item_is_read_and_deleted_by_its_id(held: Conversations, database: Database) -> None:
    made = await held.create(ME, {"k": "v"}, (assistant("a"), assistant("b"), assistant("c")))

    assert await held.get_item(made.id, ME, "msg_b") == assistant("b")
    assert await held.delete_item(made.id, ME, "msg_b") == made
    assert await held.get_item(made.id, ME, "msg_b") is None
    assert await held.delete_item(made.id, ME, "msg_b") is None
    assert await held.list_items(made.id, ME, limit=2) == Page((assistant("c"), assistant("a")), has_more=False)
    assert len(set(sizes(database))) == 1


async def test_items_added_after_a_deletion_come_last(held: Conversations) -> None:
    made = await held.create(ME, items=(assistant("a"), assistant("b")))
    await held.delete_item(made.id, ME, "msg_b")
    await held.add_items(made.id, ME, (assistant("c"),))
    await held.add_items(made.id, ME, (assistant("b"),))

    assert texts(await held.items(made.id, ME)) == ["a", "c", "b"]


async def test_an_id_is_added_once(held: Conversations, database: Database) -> None:
    made = await held.create(ME, items=(assistant("a"),))
    for items in ((user("new"), assistant("a")), (assistant("b"), assistant("b"))):
        with pytest.raises(ConflictError, match="msg_"):
            await held.add_items(made.id, ME, items)

    assert texts(await held.items(made.id, ME)) == ["a"]
    assert len(set(sizes(database))) == 1


@pytest.mark.parametrize("id", [5, "\0", ["msg"]])
async def test_an_item_whose_id_is_none_is_refused(held: Conversations, id: object) -> None:
    with pytest.raises(ValueError, match="id"):
        await held.create(ME, items=({**user("a"), "id": id},))


async def test_an_item_that_a_response_repeats_is_stored_once(held: Conversations, database: Database) -> None:
    made = await held.create(ME, items=(assistant("a"),))
    asked = (assistant("a"), user("b"))
    await Responses(database).put(response("r", (assistant("a"),), asked=asked, conversation_id=made.id))

    assert texts(await held.items(made.id, ME)) == ["a", "b", "r!"]
    assert len(set(sizes(database))) == 1


async def test_an_item_that_an_unstored_response_repeats_is_stored_once(
    held: Conversations, database: Database
) -> None:
    made = await held.create(ME, items=(assistant("one"),))

    assert await held.enter(made.id, ME, (assistant("one"), user("two?")))
    assert texts(await held.items(made.id, ME)) == ["one", "two?"]
    assert len(set(sizes(database))) == 1
    for id, owner in ((made.id, YOU), ("conv_unknown", ME), ("\0", ME)):
        assert not await held.enter(id, owner, (user("three?"),))


async def test_a_deleted_conversation_leaves_nothing(held: Conversations, database: Database) -> None:
    made = await held.create(ME, items=(assistant("a"),))

    assert await held.delete(made.id, ME)
    assert not await held.delete(made.id, ME)
    assert (count(database, conversations), count(database, conversation_items)) == (0, 0)


async def test_two_proxies_that_add_at_once_each_add_in_one_piece(
    held: Conversations, database: Database, other: Database
) -> None:
    made = await held.create(ME)
    places = [held, Conversations(other)]
    names = [(str(n), f"{n}'") for n in range(30)]

    await asyncio.gather(
        *(places[n % 2].add_items(made.id, ME, tuple(assistant(name) for name in pair)) for n, pair in enumerate(names))
    )

    found = texts(await held.items(made.id, ME))
    assert sorted(zip(found[::2], found[1::2], strict=True)) == sorted(names)
    assert len(set(sizes(database))) == 1


async def test_responses_of_two_proxies_enter_one_conversation_whole(
    held: Conversations, database: Database, other: Database
) -> None:
    made = await held.create(ME)
    places = [Responses(database), Responses(other)]

    await asyncio.gather(
        *(places[n % 2].put(response(str(n), conversation_id=made.id)) for n in range(20)),
        held.update(made.id, ME, {"k": "v"}),
    )

    found = texts(await held.items(made.id, ME))
    assert sorted(zip(found[::2], found[1::2], strict=True)) == sorted((f"{n}?", f"{n}!") for n in range(20))
    for n in range(20):
        until_there = texts(await places[0].conversation_items(f"resp_{n}", ME))
        assert until_there == found[: found.index(f"{n}!") + 1]


async def test_an_item_that_two_proxies_add_at_once_is_stored_once(
    held: Conversations, database: Database, other: Database
) -> None:
    for turn in range(20):
        made = await held.create(ME)
        both = (response(f"{turn}{name}", asked=(assistant("a"),), conversation_id=made.id) for name in "bc")
        await asyncio.gather(*(Responses(where).put(one) for where, one in zip((database, other), both, strict=True)))

        assert sorted(texts(await held.items(made.id, ME))) == [f"{turn}b!", f"{turn}c!", "a"]


async def test_two_proxies_that_delete_the_last_responses_of_a_deleted_conversation_leave_nothing(
    held: Conversations, database: Database, other: Database
) -> None:
    for _ in range(20):
        made = await held.create(ME)
        for name in "ab":
            await Responses(database).put(response(name, conversation_id=made.id))
        await held.delete(made.id, ME)
        await asyncio.gather(Responses(database).delete("resp_a", ME), Responses(other).delete("resp_b", ME))

        assert (count(database, conversations), count(database, conversation_items)) == (0, 0)


async def test_a_conversation_that_is_deleted_while_a_response_enters_it_loses_neither_nor_both(
    held: Conversations, database: Database, other: Database
) -> None:
    for turn in range(20):
        made = await held.create(ME, items=(assistant("a"),))
        put = Responses(other).put(response(str(turn), (assistant("a"),), conversation_id=made.id))
        entered, deleted = await asyncio.gather(put, held.delete(made.id, ME), return_exceptions=True)

        assert deleted is True
        found = await Responses(database).conversation_items(f"resp_{turn}", ME)
        assert texts(found) == ([] if entered else ["a", f"{turn}?", f"{turn}!"])


async def test_nothing_that_was_said_can_be_read_in_an_encrypted_database(database: Database) -> None:
    encryption = Encryption([Encryption.new_key()])
    held = Conversations(database, encryption)
    made = await held.create(ME, {"k": "v"}, (user("a"),))

    assert texts(await held.items(made.id, ME)) == ["a"]
    assert await held.get(made.id, ME) == made
    columns = (select(conversations.c.metadata), select(conversation_items.c.item))
    kept = [database.read(lambda c, query=query: c.execute(query).scalar_one()) for query in columns]  # type: ignore[misc]
    assert all(text.startswith("fernet:") for text in kept)
