"""Stored chat completions are listed in their order, to their owner alone."""

from typing import Any

import pytest
from sqlalchemy import select

from storage.base import ConflictError, size_of
from storage.chat_completions import LOOKED_AT, ChatCompletions, KeptChat, StoredChat
from storage.database import Database
from storage.encryption import Encryption
from storage.pagination import UnknownCursorError
from storage.tables import chat_completions
from tests.storage.kept import ME, YOU

pytestmark = pytest.mark.anyio


def chat(name: str, created_at: float = 1000.0, **fields: Any) -> StoredChat:
    values: dict[str, Any] = {
        "id": f"chatcmpl-{name}",
        "owner": ME,
        "created_at": created_at,
        "model": "gpt-5",
        "body": f'{{"id":"chatcmpl-{name}"}}'.encode(),
        "messages": ({"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{name}?"}),
    }
    return StoredChat(**{**values, **fields})


@pytest.fixture(params=[(), (Encryption.new_key(),)], ids=["readable", "encrypted"])
def chats(database: Database, request: pytest.FixtureRequest) -> ChatCompletions:
    return ChatCompletions(database, Encryption(request.param))


async def names(chats: ChatCompletions, owner: str = ME, **wish: Any) -> str:
    """The completions in a piece, and + if there are more."""
    page = await chats.list(owner, **wish)
    return "".join(one.id.removeprefix("chatcmpl-") for one in page.data) + "+" * page.has_more


async def test_a_completion_comes_back_as_it_was_kept(chats: ChatCompletions) -> None:
    await chats.put(chat("a", metadata={"topic": "é\0"}))

    kept = KeptChat("chatcmpl-a", 1000.0, "gpt-5", b'{"id":"chatcmpl-a"}', {"topic": "é\0"})
    assert await chats.get("chatcmpl-a", ME) == kept
    assert (await chats.list(ME)).data == (kept,)


async def test_completions_of_other_owners_are_not_found(chats: ChatCompletions) -> None:
    await chats.put(chat("a"))

    assert await chats.get("chatcmpl-a", YOU) is None
    assert await chats.messages("chatcmpl-a", YOU) is None
    assert await chats.update("chatcmpl-a", YOU, {}) is None
    assert not await chats.delete("chatcmpl-a", YOU)
    assert await names(chats, YOU) == ""
    with pytest.raises(UnknownCursorError):
        await chats.list(YOU, after="chatcmpl-a")
    assert await names(chats) == "a"


@pytest.mark.parametrize("id", ["", "\0", "chatcmpl-unknown"])
async def test_an_id_that_nothing_has_is_not_there(chats: ChatCompletions, id: str) -> None:
    assert await chats.get(id, ME) is None
    assert await chats.messages(id, ME) is None
    assert await chats.update(id, ME, {}) is None
    assert not await chats.delete(id, ME)
    with pytest.raises(UnknownCursorError):
        await chats.list(ME, after=id)
    assert await names(chats, model=id) == ""


async def test_an_id_is_kept_once(chats: ChatCompletions) -> None:
    await chats.put(chat("a"))
    with pytest.raises(ConflictError, match="chatcmpl-a"):
        await chats.put(chat("a", owner=YOU, model="other"))

    assert (await chats.list(ME)).data[0].model == "gpt-5"


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        pytest.param({}, "abcde", id="the oldest first"),
        pytest.param({"order": "desc"}, "edcba", id="the last first"),
        pytest.param({"limit": 2}, "ab+", id="so many"),
        pytest.param({"limit": 2, "after": "chatcmpl-b"}, "cd+", id="after one of several that are as old"),
        pytest.param({"limit": 2, "after": "chatcmpl-c", "order": "desc"}, "ba", id="before one of those"),
        pytest.param({"after": "chatcmpl-e"}, "", id="after the last"),
        pytest.param({"model": "gpt-4"}, "bd", id="of a model"),
        pytest.param({"metadata": {"for": "x"}}, "abc", id="with metadata"),
        pytest.param({"metadata": {"for": "x", "by": "y"}}, "c", id="with all of some metadata"),
        pytest.param({"metadata": {"for": "x"}, "model": "gpt-4", "limit": 1}, "b", id="with metadata and a model"),
        pytest.param({"metadata": {"for": "x"}, "limit": 1, "after": "chatcmpl-a"}, "b+", id="with metadata after one"),
        pytest.param({"metadata": {"for": ["x"]}}, "", id="with metadata that nothing has"),
    ],
)
async def test_completions_are_listed(chats: ChatCompletions, wish: dict[str, Any], expected: str) -> None:
    x = {"for": "x"}
    await chats.put(chat("e", 1002))
    await chats.put(chat("b", 1001, model="gpt-4", metadata=x))
    await chats.put(chat("c", 1001, metadata={**x, "by": "y"}))
    await chats.put(chat("d", 1001, model="gpt-4", metadata={"for": "z"}))
    await chats.put(chat("a", 1000, metadata=x))

    assert await names(chats, **wish) == expected


async def test_metadata_is_looked_for_in_all_of_them(database: Database) -> None:
    chats = ChatCompletions(database)
    many = 2 * LOOKED_AT + 5
    rows = [
        {"id": f"chatcmpl-{n}", "owner": ME, "created_at": n, "model": "m", "metadata": metadata}
        | {"messages": "[]", "body": "{}", "size": 0}
        for n, metadata in enumerate(['{"k":"v"}'] + ["{}"] * (many - 2) + ['{"k":"v"}'])
    ]
    database.write(lambda connection: connection.execute(chat_completions.insert(), rows) and None)

    page = await chats.list(ME, metadata={"k": "v"}, limit=2)
    assert [one.id for one in page.data] == ["chatcmpl-0", f"chatcmpl-{many - 1}"]
    assert not page.has_more


async def test_messages_come_in_pieces_with_ids(chats: ChatCompletions) -> None:
    await chats.put(chat("a"))

    first = await chats.messages("chatcmpl-a", ME, limit=1)
    assert first and first.has_more
    assert first.data == ({"role": "system", "content": "Be brief.", "id": "chatcmpl-a-0"},)
    rest = await chats.messages("chatcmpl-a", ME, after="chatcmpl-a-0")
    assert rest and not rest.has_more
    assert rest.data == ({"role": "user", "content": "a?", "id": "chatcmpl-a-1"},)
    with pytest.raises(UnknownCursorError):
        await chats.messages("chatcmpl-a", ME, after="chatcmpl-a-2")


async def test_metadata_is_replaced(chats: ChatCompletions, database: Database) -> None:
    await chats.put(chat("a", metadata={"a": "1"}))
    changed = await chats.update("chatcmpl-a", ME, {"b": "a longer one"})

    assert changed and changed.metadata == {"b": "a longer one"}
    assert changed == await chats.get("chatcmpl-a", ME)
    row = database.read(lambda connection: connection.execute(select(chat_completions)).one())
    assert row.size == size_of(row.metadata, row.messages, row.body)


async def test_a_deleted_completion_is_gone(chats: ChatCompletions) -> None:
    await chats.put(chat("a"))

    assert await chats.delete("chatcmpl-a", ME)
    assert not await chats.delete("chatcmpl-a", ME)
    assert await chats.get("chatcmpl-a", ME) is None


async def test_nothing_that_was_said_can_be_read_in_an_encrypted_database(database: Database) -> None:
    await ChatCompletions(database, Encryption([Encryption.new_key()])).put(chat("a"))

    row = database.read(lambda connection: connection.execute(select(chat_completions)).one())
    assert all(kept.startswith("fernet:") for kept in (row.metadata, row.messages, row.body))
