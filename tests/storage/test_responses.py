"""Responses come back as they were kept, to their owner alone, however long their chain is and whoever deletes."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, text

from storage.base import ConflictError
from storage.conversations import Conversations
from storage.database import Database
from storage.encryption import Encryption
from storage.item_ids import asked_id, new_response_id, output_ids
from storage.pagination import UnknownCursorError
from storage.responses import Kept, NoConversationError, Responses
from storage.tables import conversation_items, conversations, responses
from tests.storage.kept import ME, YOU, Clock, Item, assistant, chain, count, response, user

pytestmark = pytest.mark.anyio


@pytest.fixture
def kept(database: Database, clock: Clock) -> Responses:
    return Responses(database, clock=clock)


def texts(items: tuple[Item, ...] | None) -> list[str]:
    return [item["content"][0]["text"] for item in items or ()]


async def test_a_response_comes_back_as_it_was_kept_to_another_proxy(kept: Responses, other: Database) -> None:
    await kept.put(response("a", body=b'{"text": "\xc3\xa9\\u0000"}', status="incomplete"))

    found = await Responses(other).get("resp_a", ME)
    assert found == Kept("resp_a", 1_763_683_200.0, "incomplete", b'{"text": "\xc3\xa9\\u0000"}', None, False)


async def test_responses_of_other_owners_are_not_found(kept: Responses) -> None:
    await kept.put(response("a"))

    assert await kept.get("resp_a", YOU) is None
    assert await kept.conversation_items("resp_a", YOU) is None
    assert await kept.input_items("resp_a", YOU) is None
    assert not await kept.delete("resp_a", YOU)
    assert await kept.get("resp_a", ME)


@pytest.mark.parametrize("id", ["", "resp_\0", "resp_\ud800", "é" * 400, "resp_b"])
async def test_an_id_that_nothing_has_is_not_there(kept: Responses, id: str) -> None:
    await kept.put(response("a"))

    assert await kept.get(id, ME) is None
    assert await kept.conversation_items(id, ME) is None
    assert await kept.input_items(id, ME) is None
    assert not await kept.delete(id, ME)


async def test_a_response_that_cannot_be_stored_is_refused(kept: Responses) -> None:
    with pytest.raises(ValueError, match="printable"):
        await kept.put(response("a\0"))
    with pytest.raises(ValueError, match="not from both"):
        await kept.put(response("a", previous_id="resp_b", conversation_id="conv_b"))
    with pytest.raises(ValueError, match="surrogates"):
        await kept.put(response("a", asked=(user("\ud800"),)))

    assert await kept.get("resp_a", ME) is None


async def test_an_id_is_kept_once(kept: Responses) -> None:
    await kept.put(response("a"))
    with pytest.raises(ConflictError, match="resp_a"):
        await kept.put(response("a", owner=YOU, output=()))

    assert texts(await kept.conversation_items("resp_a", ME)) == ["a?", "a!"]


# Single items.


async def test_items_are_found_by_their_ids_by_their_owner_alone(kept: Responses) -> None:
    a, b = new_response_id(), new_response_id()
    said = {**assistant("Hello."), "id": output_ids(a)("msg")}
    await kept.put(response("a", id=a, output=(said,)))
    await kept.put(response("b", id=b))
    await kept.put(response("c", id=new_response_id(), owner=YOU))
    wanted = [said["id"], asked_id(b, 0), asked_id(b, 1), "msg_1", "", "resp_\0"]

    assert await kept.items(wanted, ME) == {said["id"]: said, asked_id(b, 0): {**user("b?"), "id": asked_id(b, 0)}}
    assert await kept.items(wanted, YOU) == {}
    await kept.delete(a, ME)
    assert list(await kept.items(wanted, ME)) == [asked_id(b, 0)]


# Chains.


async def test_a_chain_comes_back_whole_from_any_of_its_responses(kept: Responses, other: Database) -> None:
    await chain(kept, "abc")

    assert texts(await Responses(other).conversation_items("resp_c", ME)) == ["a?", "a!", "b?", "b!", "c?", "c!"]
    assert texts(await kept.conversation_items("resp_b", ME)) == ["a?", "a!", "b?", "b!"]


async def test_two_responses_may_go_on_from_one(kept: Responses) -> None:
    a = await chain(kept, "a")
    await chain(kept, "b", a)
    await chain(kept, "c", a)

    assert texts(await kept.conversation_items("resp_b", ME)) == ["a?", "a!", "b?", "b!"]
    assert texts(await kept.conversation_items("resp_c", ME)) == ["a?", "a!", "c?", "c!"]


async def test_a_thousand_turns_take_the_room_of_a_thousand_turns(kept: Responses, database: Database) -> None:
    last = None
    for n in range(1000):
        before = last.conversation if last else ()
        last = response(f"{n:04}", before, previous_id=last.id if last else None)
        await kept.put(last)
    assert last
    one = response("0000")
    turn = len(one.body) + len(Encryption().pack(one.asked + one.output))

    assert await kept.conversation_items(last.id, ME) == last.conversation
    total = database.read(lambda connection: connection.execute(select(func.sum(responses.c.size))).scalar())
    assert total == 1000 * turn


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"previous_id": "resp_unknown"}, id="a previous response that is not there"),
        pytest.param({"previous_id": "resp_b"}, id="a previous response that says something else"),
        pytest.param({"previous_id": "resp_long"}, id="a previous response that is longer"),
        pytest.param({"previous_id": "resp_of_you"}, id="a previous response of another's"),
        pytest.param({"previous_id": "\0"}, id="no id at all"),
        pytest.param({}, id="no previous response"),
    ],
)
async def test_items_that_are_not_in_the_chain_are_stored_in_full(kept: Responses, fields: dict[str, Any]) -> None:
    a = response("a")
    await kept.put(response("b"))
    await chain(kept, "x")
    await kept.put(response("long", (user("x"),), output=a.conversation))
    await kept.put(response("of_you", owner=YOU, asked=a.asked, output=a.output))
    last = response("c", a.conversation, **fields)
    await kept.put(last)
    after = await chain(kept, "d", last)

    assert await kept.conversation_items("resp_c", ME) == last.conversation
    assert await kept.conversation_items("resp_d", ME) == after.conversation


async def test_tuples_in_items_are_no_reason_to_keep_them_twice(kept: Responses, database: Database) -> None:
    first = response("a", asked=({"type": "message", "role": "user", "content": ({"type": "input_text"},)},))
    await kept.put(first)
    await kept.put(response("b", first.conversation, previous_id="resp_a"))

    query = select(responses.c.earlier, responses.c.previous_id).where(responses.c.id == "resp_b")
    assert database.read(lambda connection: connection.execute(query).one()) == (None, "resp_a")


# Deleting.


@pytest.mark.parametrize("deleted", ["a", "b", "ab", "ba", "c"])
async def test_a_continuation_of_a_deleted_response_keeps_its_history(kept: Responses, deleted: str) -> None:
    last = await chain(kept, "abcd")
    for name in deleted:
        assert await kept.delete(f"resp_{name}", ME)
    after = await chain(kept, "e", last)

    assert await kept.conversation_items("resp_d", ME) == last.conversation
    assert await kept.conversation_items("resp_e", ME) == after.conversation
    for name in deleted:
        assert await kept.get(f"resp_{name}", ME) is None
        assert await kept.conversation_items(f"resp_{name}", ME) is None
        assert not await kept.delete(f"resp_{name}", ME)


async def test_a_deleted_response_leaves_its_items_alone(kept: Responses, database: Database) -> None:
    await chain(kept, "ab")
    await kept.delete("resp_a", ME)

    row = database.read(lambda c: c.execute(select(responses).where(responses.c.id == "resp_a")).one())
    assert row.body is None
    assert row.size == len(row.own_items)


async def test_nothing_goes_on_from_a_deleted_response(kept: Responses, database: Database) -> None:
    b = await chain(kept, "ab")
    await chain(kept, "c", b)
    await kept.delete("resp_b", ME)
    after = await chain(kept, "d", b)

    assert await kept.conversation_items("resp_d", ME) == after.conversation
    query = select(responses.c.previous_id).where(responses.c.id == "resp_d")
    assert database.read(lambda connection: connection.execute(query).scalar()) is None


@pytest.mark.parametrize("order", ["abcd", "dcba", "bdac", "cabd"])
async def test_nothing_is_left_of_a_chain_that_is_deleted(kept: Responses, database: Database, order: str) -> None:
    await chain(kept, "abcd")
    for name in order:
        await kept.delete(f"resp_{name}", ME)

    assert count(database, responses) == 0


async def test_a_beginning_that_two_share_stays_until_both_are_deleted(kept: Responses, database: Database) -> None:
    b = await chain(kept, "ab")
    await chain(kept, "cd", b)
    await chain(kept, "ef", b)
    for name in "abcde":
        await kept.delete(f"resp_{name}", ME)

    assert texts(await kept.conversation_items("resp_f", ME)) == ["a?", "a!", "b?", "b!", "e?", "e!", "f?", "f!"]
    assert count(database, responses) == 4
    await kept.delete("resp_f", ME)
    assert count(database, responses) == 0


async def test_two_proxies_that_delete_the_last_two_at_once_leave_nothing(
    kept: Responses, database: Database, other: Database
) -> None:
    for _ in range(20):
        a = await chain(kept, "a")
        await chain(kept, "b", a)
        await chain(kept, "c", a)
        await kept.delete("resp_a", ME)
        deleted = await asyncio.gather(kept.delete("resp_b", ME), Responses(other).delete("resp_c", ME))

        assert all(deleted)
        assert count(database, responses) == 0


async def test_a_response_that_is_deleted_while_another_goes_on_from_it_is_there_for_that_one(
    kept: Responses, other: Database
) -> None:
    for turn in range(20):
        names = [f"{turn}{letter}" for letter in "ab"]
        a = response(names[0])
        await kept.put(a)
        b = response(names[1], a.conversation, previous_id=a.id)
        await asyncio.gather(Responses(other).put(b), kept.delete(a.id, ME))

        assert await kept.get(a.id, ME) is None
        assert await kept.conversation_items(b.id, ME) == b.conversation


# Input items.


async def test_input_items_are_those_that_were_asked_with(kept: Responses) -> None:
    a = await chain(kept, "a")
    await kept.put(response("b", a.conversation, previous_id="resp_a", asked=(user("1"), assistant("2"))))

    page = await kept.input_items("resp_b", ME, order="asc")
    assert page
    assert [item["id"] for item in page.data] == ["item_b_0", "msg_2"]
    assert texts(page.data) == ["1", "2"]
    assert not page.has_more


@pytest.mark.parametrize(
    ("wish", "expected", "has_more"),
    [
        pytest.param({}, "43210", False, id="the last comes first"),
        pytest.param({"limit": 2}, "43", True, id="so many"),
        pytest.param({"limit": 2, "after": "item_a_3"}, "21", True, id="after one"),
        pytest.param({"limit": 2, "after": "item_a_3", "before": "item_a_1"}, "2", False, id="between two"),
        pytest.param({"order": "asc", "before": "item_a_2"}, "01", False, id="before one"),
        pytest.param({"order": "asc", "after": "item_a_4"}, "", False, id="after the last"),
    ],
)
async def test_input_items_come_in_pieces(kept: Responses, wish: dict[str, Any], expected: str, has_more: bool) -> None:
    await kept.put(response("a", asked=tuple(user(str(n)) for n in range(5))))

    page = await kept.input_items("resp_a", ME, **wish)
    assert page
    assert ("".join(texts(page.data)), page.has_more) == (expected, has_more)


async def test_input_items_after_one_that_is_not_there_are_an_error(kept: Responses) -> None:
    await kept.put(response("a"))

    with pytest.raises(UnknownCursorError, match="item_b_0"):
        await kept.input_items("resp_a", ME, after="item_b_0")


# Responses in conversations.


async def test_a_response_enters_its_conversation_with_its_items(kept: Responses, database: Database) -> None:
    held = Conversations(database)
    conversation = await held.create(ME, items=(user("hello"),))
    before = await held.items(conversation.id, ME) or ()
    await kept.put(response("a", before, conversation_id=conversation.id))

    assert texts(await held.items(conversation.id, ME)) == ["hello", "a?", "a!"]
    assert texts(await kept.conversation_items("resp_a", ME)) == ["hello", "a?", "a!"]
    found = await kept.get("resp_a", ME)
    assert found and found.conversation_id == conversation.id
    page = await kept.input_items("resp_a", ME)
    assert page and texts(page.data) == ["a?"]


async def test_a_conversation_that_is_not_there_keeps_nothing(kept: Responses, database: Database) -> None:
    yours = await Conversations(database).create(YOU)
    for id in ("conv_unknown", yours.id, "\0"):
        with pytest.raises(NoConversationError):
            await kept.put(response("a", conversation_id=id))

    assert count(database, responses) == 0
    assert count(database, conversation_items) == 0


async def test_a_response_that_cannot_be_kept_adds_nothing_to_its_conversation(
    kept: Responses, database: Database
) -> None:
    conversation = await Conversations(database).create(ME)
    await kept.put(response("a"))
    with pytest.raises(ConflictError):
        await kept.put(response("a", conversation_id=conversation.id))

    assert await Conversations(database).items(conversation.id, ME) == ()


async def test_one_may_go_on_from_a_response_in_a_conversation_that_went_on_since(
    kept: Responses, database: Database
) -> None:
    conversation = await Conversations(database).create(ME, items=(user("hello"),))
    for name in "ab":
        before = await Conversations(database).items(conversation.id, ME) or ()
        await kept.put(response(name, before, conversation_id=conversation.id))
    before = await kept.conversation_items("resp_a", ME) or ()
    await kept.put(response("c", before, previous_id="resp_a"))

    assert texts(await kept.conversation_items("resp_c", ME)) == ["hello", "a?", "a!", "c?", "c!"]


async def test_a_deleted_conversation_is_kept_for_what_went_on_from_it(kept: Responses, database: Database) -> None:
    held = Conversations(database)
    conversation = await held.create(ME, items=(user("hello"),))
    before = await held.items(conversation.id, ME) or ()
    await kept.put(response("a", before, conversation_id=conversation.id))
    await held.delete(conversation.id, ME)

    assert await held.get(conversation.id, ME) is None
    assert texts(await kept.conversation_items("resp_a", ME)) == ["hello", "a?", "a!"]
    await kept.delete("resp_a", ME)
    assert [count(database, table) for table in (conversations, conversation_items, responses)] == [0, 0, 0]


# Encryption.


async def test_nothing_that_was_said_can_be_read_in_an_encrypted_database(database: Database) -> None:
    encryption = Encryption([Encryption.new_key()])
    kept = Responses(database, encryption)
    last = await chain(kept, "ab")
    await kept.put(response("c", last.conversation))

    assert await kept.conversation_items("resp_b", ME) == last.conversation
    rows = database.read(lambda c: c.execute(text("SELECT earlier, own_items, body FROM responses")).all())
    assert all(column is None or column.startswith("fernet:") for row in rows for column in row)
