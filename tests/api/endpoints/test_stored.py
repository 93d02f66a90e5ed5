"""What is kept, over the scripted engine: responses, background, conversations, completions, sessions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy import text as text_of

from api.client_identity import identity_of
from api.http.server import Request
from engine import ClaudeError
from storage import stores as stores_module
from storage.background import Background
from storage.base import ConflictError
from storage.database import Database, StoreError
from storage.encryption import Encryption, EncryptionKeyError
from storage.responses import StoredResponse
from storage.stores import Stores
from storage.tables import responses
from tests.api.scripted import END, START, Scripted, client, text
from translate.turn import Turn

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"model": "gpt-4o", "input": "Hi"}
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = [START, *text("Hel", "lo."), END]


def said(engine: Scripted, turn: int = -1) -> list[tuple[str, str]]:
    return [(message.role, message.content[0]["text"]) for message in engine.turns[turn].messages]


async def until(http: httpx.AsyncClient, path: str, *statuses: str) -> dict[str, Any]:
    while True:
        body: dict[str, Any] = (await http.get(path)).json()
        if body["status"] in statuses:
            return body
        await asyncio.sleep(0.01)


def events_in(body: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


# Responses


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_there_as_soon_as_its_end_was_told(stream: bool) -> None:
    async with client(Scripted(ANSWER)) as http:
        answer = await http.post("/v1/responses", json={**BODY, "stream": stream})
        told = events_in(answer.text)[-1]["response"] if stream else answer.json()
        kept = await http.get(f"/v1/responses/{told['id']}")
        items = (await http.get(f"/v1/responses/{told['id']}/input_items")).json()
    # A body has `billing`, an event has not.
    assert kept.json() == {**told, "billing": {"payer": "developer"}}
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "Hi"}]


async def test_a_response_with_store_false_is_not_stored() -> None:
    async with client(Scripted(ANSWER)) as http:
        made = (await http.post("/v1/responses", json={**BODY, "store": False})).json()
        assert (await http.get(f"/v1/responses/{made['id']}")).status_code == 404


async def test_a_response_is_its_owners_alone() -> None:
    async with client(Scripted(ANSWER)) as http:
        made = (await http.post("/v1/responses", json=BODY, headers={"authorization": "Bearer a"})).json()
        path = f"/v1/responses/{made['id']}"
        for method in ("GET", "DELETE"):
            assert (await http.request(method, path, headers={"authorization": "Bearer b"})).status_code == 404
        deleted = await http.delete(path, headers={"authorization": "Bearer a"})
        assert deleted.json() == {"id": made["id"], "object": "response", "deleted": True}
        assert (await http.get(path, headers={"authorization": "Bearer a"})).status_code == 404


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_that_cannot_be_kept_is_answered_and_says_so(tmp_path: Path, stream: bool) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(Scripted(ANSWER), stores=stores) as http:
            database.write(lambda connection: connection.execute(text_of("DROP TABLE response_events")))
            database.write(lambda connection: connection.execute(text_of("DROP TABLE responses")))
            answer = await http.post("/v1/responses", json={**BODY, "stream": stream})
    told = events_in(answer.text)[-1]["response"] if stream else answer.json()

    assert (told["status"], told["store"]) == ("completed", False)


@pytest.mark.parametrize("error", [EncryptionKeyError("sealed with another key"), RuntimeError("a defect")])
async def test_a_failed_cleanup_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    swept = asyncio.Queue[None]()

    async def fail(ending: object) -> None:
        raise error

    async def sweep() -> None:
        swept.put_nowait(None)

    monkeypatch.setattr(stores_module, "LOOK_S", 0.01)
    monkeypatch.setattr(stores_module, "SWEEP_S", 0.01)
    with Database.open(tmp_path / "kept.db") as database:
        stores = Stores.on(database)
        monkeypatch.setattr(stores.background, "fail_abandoned", fail)
        monkeypatch.setattr(stores.retention, "sweep", sweep)
        async with asyncio.timeout(20), stores:
            await swept.get()
            await swept.get()

    assert str(error) in caplog.text


# In the background


async def test_a_background_response_of_a_dead_proxy_is_reported_as_failed(tmp_path: Path) -> None:
    nobody = identity_of(Request("GET", "/", "", (), b""), by_key=False).owner
    left = StoredResponse("resp_1", nobody, 1.0, b'{"id":"resp_1","status":"queued"}', (), status="queued")
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(Scripted(), stores=stores) as http:
            # What there was before the proxy began, it has looked through already.
            await http.get("/v1/responses/resp_1")
            await Background(database, Encryption(), lease_s=0.0).begin(left)
            answer = await http.get("/v1/responses/resp_1")

    assert answer.json()["status"] == "failed"


async def test_a_background_response_is_answered_after_its_client_has_left() -> None:
    gate = asyncio.Event()
    engine = Scripted([START, gate, *text("Hel", "lo."), END], ANSWER)
    async with client(engine) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        assert (begun["status"], begun["background"], begun["output"]) == ("queued", True, [])
        path = f"/v1/responses/{begun['id']}"
        assert await until(http, path, "in_progress") == {**begun, "status": "in_progress"}
        gate.set()
        done = await until(http, path, "completed")
        streamed = events_in((await http.get(f"{path}?stream=true")).text)
        rest = events_in((await http.get(f"{path}?stream=true&starting_after=2")).text)
        more = await http.post("/v1/responses", json={**BODY, "input": "And?", "previous_response_id": begun["id"]})
    assert done["output"][0]["content"][0]["text"] == "Hello."
    assert [event["sequence_number"] for event in streamed] == list(range(len(streamed)))
    assert streamed[-1]["type"] == "response.completed"
    assert rest == streamed[3:]
    assert more.status_code == 200
    assert said(engine) == [("user", "Hi"), ("assistant", "Hello."), ("user", "And?")]


async def test_the_turn_of_a_background_response_is_read_to_its_end() -> None:
    engine = Scripted(ANSWER)
    async with client(engine) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        await until(http, f"/v1/responses/{begun['id']}", "completed")

    assert engine.whole == 1


@pytest.mark.parametrize("after", ["x", "-", "1.5", "\u0663", "9" * 30, "9" * 5000])
async def test_an_invalid_starting_after_is_refused(after: str) -> None:
    async with client(Scripted(ANSWER)) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        query = {"stream": "true", "starting_after": after}
        answer = await http.get(f"/v1/responses/{begun['id']}", params=query)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "starting_after")


async def test_a_background_stream_is_the_stream_and_goes_on_without_its_reader() -> None:
    gate = asyncio.Event()
    async with client(Scripted([START, *text("Hel"), gate, *text("lo."), END])) as http:
        body = {**BODY, "background": True, "stream": True}
        async with http.stream("POST", "/v1/responses", json=body) as answer:
            first = ""
            async for line in answer.aiter_lines():
                first += line + "\n"
                if "output_text.delta" in line and line.startswith("data"):
                    break
        gate.set()
        id = events_in(first)[0]["response"]["id"]
        done = await until(http, f"/v1/responses/{id}", "completed")
    assert done["output"][0]["content"][0]["text"] == "Hello."


async def test_a_background_response_can_be_cancelled_once() -> None:
    never = asyncio.Event()
    engine = Scripted([START, never])
    async with client(engine) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        path = f"/v1/responses/{begun['id']}"
        cancelled = await http.post(f"{path}/cancel")
        again = await http.post(f"{path}/cancel")
        kept = (await http.get(path)).json()
    assert cancelled.json()["status"] == again.json()["status"] == kept["status"] == "cancelled"
    assert engine.left == 1


async def test_cancelling_again_does_not_disturb_what_tidies_up(tmp_path: Path) -> None:
    tidied, tidying, gate = [], asyncio.Event(), asyncio.Event()

    class Slow(Scripted):
        @asynccontextmanager
        async def run(self, turn: Turn) -> AsyncIterator[Any]:
            async with super().run(turn) as play:
                try:
                    yield play
                finally:
                    tidying.set()
                    await gate.wait()
                    tidied.append(turn)

    with Database.open(tmp_path / "kept.db") as database:
        async with (
            Stores.on(database) as stores,
            client(Slow([START, asyncio.Event()]), stores=stores) as http,
        ):
            begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
            path = f"/v1/responses/{begun['id']}"
            cancelling = asyncio.create_task(http.post(f"{path}/cancel"))
            await tidying.wait()
            stores.cancel(begun["id"])
            await http.get(path)
            gate.set()
            answer = await cancelling

    assert answer.json()["status"] == "cancelled"
    assert len(tidied) == 1


async def test_a_background_response_that_nobody_has_heard_of_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()
    begin = Background.begin

    async def slowly(self: Background, response: StoredResponse) -> None:
        asked.set()
        await gate.wait()
        await begin(self, response)

    monkeypatch.setattr(Background, "begin", slowly)
    engine = Scripted(ANSWER)
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(engine, stores=stores) as http:
            leaving = asyncio.create_task(http.post("/v1/responses", json={**BODY, "background": True}))
            await asked.wait()
            (work,) = stores.tasks.values()
            leaving.cancel()
            await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "POST /v1/responses"])
            gate.set()
            await work
        status = database.read(lambda connection: connection.execute(select(responses.c.status)).scalar_one())

    assert (status, engine.turns) == ("cancelled", [])
    assert "Traceback" not in caplog.text


async def test_a_background_response_that_fails_says_so() -> None:
    async with client(Scripted([START, ClaudeError("overloaded_error")])) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        done = await until(http, f"/v1/responses/{begun['id']}", "failed")
    assert done["error"]["code"] == "server_error"


async def test_the_stream_of_a_background_response_that_nobody_works_on_any_more_says_so() -> None:
    async with client(Scripted([START, *text("Hel"), RuntimeError("a defect")])) as http:
        body = {**BODY, "background": True, "stream": True}
        events = events_in((await http.post("/v1/responses", json=body)).text)
        kept = (await http.get(f"/v1/responses/{events[0]['response']['id']}")).json()

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", kept)
    assert kept["status"] == "failed"


async def test_an_unstored_response_cannot_run_in_the_background() -> None:
    async with client(Scripted(ANSWER)) as http:
        unstored = await http.post("/v1/responses", json={**BODY, "background": True, "store": False})
        made = (await http.post("/v1/responses", json=BODY)).json()
        foreground = await http.post(f"/v1/responses/{made['id']}/cancel")
        stream = await http.get(f"/v1/responses/{made['id']}?stream=true")
    assert (unstored.status_code, unstored.json()["error"]["param"]) == (400, "background")
    assert foreground.status_code == stream.status_code == 400


# Conversations


async def test_a_conversation_grows_with_its_responses() -> None:
    engine = Scripted(ANSWER, ANSWER)
    async with client(engine) as http:
        item = {"role": "user", "content": "My name is Ann."}
        made = (await http.post("/v1/conversations", json={"items": [item], "metadata": {"a": "b"}})).json()
        path = f"/v1/conversations/{made['id']}"
        await http.post("/v1/responses", json={**BODY, "conversation": made["id"]})
        await http.post("/v1/responses", json={**BODY, "input": "Who am I?", "conversation": {"id": made["id"]}})
        items = (await http.get(f"{path}/items?order=asc")).json()
        one = (await http.get(f"{path}/items/{items['data'][0]['id']}")).json()
        less = await http.delete(f"{path}/items/{items['data'][0]['id']}")
        left = (await http.get(f"{path}/items?limit=2")).json()
        renamed = (await http.post(path, json={"metadata": {"c": "d"}})).json()
        gone = (await http.delete(path)).json()
        after = await http.get(path)
    assert made["object"] == "conversation" and made["metadata"] == {"a": "b"}
    assert [text for _, text in said(engine)][:1] == ["My name is Ann."]
    assert len(items["data"]) == 5 and one == items["data"][0]
    assert less.json()["id"] == made["id"]
    assert (len(left["data"]), left["has_more"]) == (2, True)
    assert renamed["metadata"] == {"c": "d"}
    assert gone == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert after.status_code == 404


@pytest.mark.parametrize("store", [True, False])
async def test_an_item_sent_twice_is_in_the_conversation_once(store: bool) -> None:
    question = {"type": "message", "id": "msg_1", "role": "user", "content": "Hi"}
    async with client(Scripted(ANSWER, ANSWER)) as http:
        made = (await http.post("/v1/conversations", json={"items": [question]})).json()
        again = {"type": "message", "role": "user", "content": "And?"}
        body = {**BODY, "conversation": made["id"], "store": store, "input": [question, again]}
        await http.post("/v1/responses", json=body)
        items = (await http.get(f"/v1/conversations/{made['id']}/items?order=asc")).json()["data"]

    assert [item["role"] for item in items] == ["user", "user", "assistant"]


@pytest.mark.parametrize(
    "body",
    [
        {"items": "x"},
        {"items": [3]},
        {"items": [{}]},
        {"items": [{"role": "user", "content": "x"}] * 21},
        {"items": [{"role": "user", "content": "x", "type": ["message"]}]},
        {"items": [{"role": "user", "content": "x", "id": 5}]},
        {"items": [{"role": "user", "content": "x", "id": "a\nb"}]},
        {"items": [{"role": "user", "content": "x", "id": "a" * 513}]},
        {"metadata": []},
        {"metadata": {"a": 1}},
        {"metadata": {str(n): "x" for n in range(17)}},
    ],
)
async def test_an_invalid_conversation_is_refused(body: dict[str, Any]) -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/conversations", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(("items", "metadata"))


async def test_a_key_that_openai_does_not_have_is_refused_wherever_something_is_kept() -> None:
    async with client(Scripted(ANSWER)) as http:
        kept = (await http.post("/v1/chat/completions", json={**CHAT, "store": True})).json()["id"]
        made = (await http.post("/v1/conversations")).json()["id"]
        paths = ("conversations", f"conversations/{made}", f"conversations/{made}/items", f"chat/completions/{kept}")
        answers = [await http.post(f"/v1/{path}", json={"odd": 1}) for path in paths]

    assert [(answer.status_code, answer.json()["error"]["param"]) for answer in answers] == [(400, "odd")] * 4


async def test_keys_of_a_conversations_items_that_claude_is_not_told_of_are_named() -> None:
    body = {"items": [{"role": "user", "content": "x", "cache_control": {}}]}
    async with client(Scripted(ANSWER)) as http:
        made = await http.post("/v1/conversations", json=body)
        added = await http.post(f"/v1/conversations/{made.json()['id']}/items", json=body)

    assert [answer.headers["x-understudy-ignored"] for answer in (made, added)] == ["items[0].cache_control"] * 2
    assert added.json()["data"][0]["cache_control"] == {}


async def test_a_conversation_that_is_not_there_is_told() -> None:
    async with client(Scripted(ANSWER)) as http:
        asked = await http.post("/v1/responses", json={**BODY, "conversation": "conv_none"})
        added = await http.post("/v1/conversations/conv_none/items", json={"items": []})
    assert (asked.status_code, asked.json()["error"]["param"]) == (400, "conversation")
    assert added.status_code == 404


# Chat completions


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stored_completion_is_listed_read_labelled_and_deleted(stream: bool) -> None:
    async with client(Scripted(ANSWER, ANSWER)) as http:
        await http.post("/v1/chat/completions", json={**CHAT, "store": True, "stream": stream, "metadata": {"a": "b"}})
        await http.post("/v1/chat/completions", json={**CHAT, "stream": stream})
        (found,) = (await http.get("/v1/chat/completions?metadata[a]=b")).json()["data"]
        path = f"/v1/chat/completions/{found['id']}"
        messages = (await http.get(f"{path}/messages")).json()["data"]
        labelled = (await http.post(path, json={"metadata": {"c": "d"}})).json()
        none = (await http.get("/v1/chat/completions?metadata[a]=b")).json()["data"]
        gone = (await http.delete(path)).json()
        after = await http.get(path)
    assert found["choices"][0]["message"]["content"] == "Hello."
    assert found["usage"]["completion_tokens"] == 2
    assert messages[0]["content"] == "Hi"
    assert labelled["metadata"] == {"c": "d"} and none == []
    assert gone["deleted"] is True and after.status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=chatcmpl-none"])
async def test_a_list_that_cannot_be_is_refused(query: str) -> None:
    async with client(Scripted()) as http:
        assert (await http.get(f"/v1/chat/completions?{query}")).status_code == 400


# Sessions


@pytest.mark.parametrize("stream", [False, True])
async def test_in_a_session_only_what_is_new_is_sent(stream: bool) -> None:
    engine = Scripted(ANSWER, ANSWER, ANSWER)
    async with client(engine) as http:
        await http.post("/v1/chat/completions", json={**CHAT, "session_id": "s-1", "stream": stream})
        more = {**CHAT, "messages": [{"role": "user", "content": "And?"}], "stream": stream}
        await http.post("/v1/chat/completions", json=more, headers={"x-understudy-session": "s-1"})
        await http.post("/v1/chat/completions", json=more)
        (listed,) = (await http.get("/v1/sessions")).json()["data"]
        session = (await http.get("/v1/sessions/s-1")).json()
        totals = (await http.get("/v1/sessions/stats")).json()
        gone = await http.delete("/v1/sessions/s-1")
        after = await http.get("/v1/sessions/s-1")
    assert said(engine, 1) == [("user", "Hi"), ("assistant", "Hello."), ("user", "And?")]
    assert said(engine, 2) == [("user", "And?")]
    assert listed["id"] == "s-1" and listed["message_count"] == 4
    assert [message["role"] for message in session["messages"]] == ["user", "assistant", "user", "assistant"]
    assert (totals["sessions"], totals["tokens"]) == (1, 14)
    assert gone.json()["deleted"] is True and after.status_code == 404


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(StoreError("it is gone"), 503, "session_not_kept"), (ConflictError("meanwhile"), 409, "session_in_use")],
    ids=["the store is gone", "the session went on"],
)
async def test_a_turn_that_its_session_could_not_keep_is_no_answer(
    failure: Exception, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(Scripted(ANSWER, ANSWER, ANSWER)) as http:
        body = {**CHAT, "session_id": "s-1"}
        await http.post("/v1/chat/completions", json=body)
        with monkeypatch.context() as patched:

            async def fails(*_: object, **__: object) -> None:
                raise failure

            patched.setattr("storage.sessions.Sessions.append", fails)
            whole = await http.post("/v1/chat/completions", json=body)
            stream = await http.post("/v1/chat/completions", json={**body, "stream": True})
        session = (await http.get("/v1/sessions/s-1")).json()

    assert (whole.status_code, whole.json()["error"]["code"]) == (status, code)
    last = stream.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == code
    assert "[DONE]" not in stream.text
    assert len(session["messages"]) == 2


async def test_two_requests_of_a_session_are_answered_in_order() -> None:
    gate = asyncio.Event()
    engine = Scripted([START, gate, *text("one"), END], ANSWER)
    async with client(engine) as http:
        body = {**CHAT, "session_id": "s-1"}
        first = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        while not engine.turns:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.01)
        second = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.05)
        assert len(engine.turns) == 1
        gate.set()
        assert [(await task).status_code for task in (first, second)] == [200, 200]
    assert said(engine, 1) == [("user", "Hi"), ("assistant", "one"), ("user", "Hi")]


@pytest.mark.parametrize(("id", "status"), [(3, 400), ("", 400), ("x" * 513, 400), ("a\nb", 400)])
async def test_a_session_id_that_cannot_be_one_is_refused(id: Any, status: int) -> None:
    async with client(Scripted(ANSWER)) as http:
        answer = await http.post("/v1/chat/completions", json={**CHAT, "session_id": id})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, "session_id")


async def test_a_request_that_fails_leaves_the_session_as_it_was() -> None:
    engine = Scripted([ClaudeError("overloaded_error")], ANSWER)
    async with client(engine) as http:
        body = {**CHAT, "session_id": "s-1"}
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 503
        await http.post("/v1/chat/completions", json=body)
    assert said(engine, 1) == [("user", "Hi")]


async def test_health_and_auth_status_are_answered() -> None:
    async with client(Scripted(), credentials={"provider": "API key"}) as http:
        health = (await http.get("/health")).json()
        auth = (await http.get("/v1/auth/status")).json()
    assert health["status"] == "ok"
    assert auth == {"rehearsal": False, "provider": "API key"}


async def test_without_a_store_nothing_is_kept_and_everything_else_works() -> None:
    async with client(Scripted(ANSWER, ANSWER), stores=None) as http:
        made = await http.post("/v1/responses", json=BODY)
        chat = await http.post("/v1/chat/completions", json={**CHAT, "store": True})
        kept = await http.get(f"/v1/responses/{made.json()['id']}")
        session = await http.post("/v1/chat/completions", json={**CHAT, "session_id": "s"})
    assert made.status_code == chat.status_code == 200
    assert kept.status_code == session.status_code == 404


async def test_a_store_that_cannot_be_used_now_is_a_503(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "kept.db")
    stores = Stores.on(database)
    async with client(Scripted(ANSWER), stores=stores) as http:
        database.write(lambda connection: connection.exec_driver_sql("DROP TABLE responses"))
        found = await http.get("/v1/responses/resp_1")
        # What cannot be kept is answered all the same.
        made = await http.post("/v1/responses", json=BODY)
    database.close()
    assert (found.status_code, found.json()["error"]["code"]) == (503, "unavailable")
    assert made.status_code == 200


async def test_traces_are_taken_and_not_kept() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/traces/ingest", json={"data": []})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(("wish", "padded"), [({}, True), ({"stream_options": {"include_obfuscation": False}}, False)])
@pytest.mark.parametrize("background", [False, True])
async def test_each_delta_is_padded_unless_the_app_does_not_want_it(
    wish: dict[str, Any], padded: bool, background: bool
) -> None:
    async with client(Scripted(ANSWER)) as http:
        asked = {**BODY, **wish, "stream": True, "background": background}
        told = events_in((await http.post("/v1/responses", json=asked)).text)
    kinds = {event["type"].endswith(".delta"): "obfuscation" in event for event in told}

    assert kinds == {True: padded, False: False}


async def test_a_stream_that_is_read_again_may_leave_the_padding_out() -> None:
    async with client(Scripted(ANSWER)) as http:
        begun = (await http.post("/v1/responses", json={**BODY, "background": True})).json()
        path = f"/v1/responses/{begun['id']}"
        await until(http, path, "completed")
        padded = events_in((await http.get(f"{path}?stream=true")).text)
        plain = events_in((await http.get(f"{path}?stream=true&include_obfuscation=false")).text)

    assert any("obfuscation" in event for event in padded)
    assert plain == [{name: value for name, value in event.items() if name != "obfuscation"} for event in padded]


async def test_an_empty_list_has_no_first_and_no_last_entry() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/chat/completions")

    expected: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert answer.json() == expected
