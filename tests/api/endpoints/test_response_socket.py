"""The Responses API over a WebSocket: what is answered, in which order, and what a connection remembers."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text as text_of
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.endpoints.response_socket import MAX_LANES, MAX_WAITING
from engine import ClaudeError
from storage.database import Database
from storage.stores import Stores
from tests.api.scripted import END, START, Scripted, client, text
from tests.translate.counting import counted

pytestmark = pytest.mark.anyio

ANSWER = [START, *text("Hel", "lo."), END]
CREATE: dict[str, Any] = {"type": "response.create", "model": "gpt-4o", "input": "Hi"}
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


@asynccontextmanager
async def connected(engine: Any, **fields: Any) -> AsyncIterator[ClientConnection]:
    async with client(engine, **fields) as http:
        address = str(http.base_url).replace("http:", "ws:")
        async with open_websocket(f"{address}/v1/responses", proxy=None) as socket:
            yield socket


async def ask(socket: ClientConnection, **fields: Any) -> None:
    await socket.send(json.dumps({**CREATE, **fields}))


async def answer(socket: ClientConnection) -> list[dict[str, Any]]:
    """Take the events of one answer."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ENDS:
        events.append(json.loads(await socket.recv()))
    return events


async def test_an_answer_is_the_events_of_a_response() -> None:
    async with connected(Scripted(ANSWER)) as socket:
        await ask(socket)
        events = await answer(socket)

    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Hello."
    assert not any("stream_id" in event for event in events)


@pytest.mark.parametrize("generate", [True, False], ids=["answered", "only prepared"])
async def test_the_first_message_of_an_answer_names_what_has_no_effect(generate: bool) -> None:
    async with connected(Scripted(ANSWER, ANSWER)) as socket:
        item = {"role": "user", "content": "Hi", "cache_control": {"type": "ephemeral"}}
        await ask(socket, input=[item], stream_id="s", **({} if generate else {"generate": False}))
        events = await answer(socket)
        await ask(socket)
        others = await answer(socket)

    assert events[0]["headers"] == {"x-understudy-ignored": "input[0].cache_control"}
    assert [event["stream_id"] for event in events] == ["s"] * len(events)
    assert not any("headers" in event for event in [*events[1:], *others])


async def test_several_agents_are_refused_by_name() -> None:
    async with connected(Scripted(ANSWER)) as socket:
        await ask(socket, multi_agent={"enabled": True})
        (refused,) = await answer(socket)

    assert (refused["status"], refused["error"]["param"]) == (400, "multi_agent")
    assert refused["error"]["code"] == "unsupported_parameter"


async def test_a_response_is_gone_on_from_though_it_was_not_to_be_stored() -> None:
    engine = Scripted(ANSWER, ANSWER, ANSWER)
    async with client(engine) as http:
        address = str(http.base_url).replace("http:", "ws:")
        async with open_websocket(f"{address}/v1/responses", proxy=None) as socket:
            await ask(socket, store=False)
            first = (await answer(socket))[-1]["response"]["id"]
            await ask(socket, store=False, input="And?", previous_response_id=first)
            assert (await answer(socket))[-1]["type"] == "response.completed"
        async with open_websocket(f"{address}/v1/responses", proxy=None) as socket:
            await ask(socket, store=False, input="And?", previous_response_id=first)
            (lost,) = await answer(socket)

    said = [message.content[0]["text"] for message in engine.turns[1].messages]
    assert said == ["Hi", "Hello.", "And?"]
    assert (lost["status"], lost["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_response_without_generation_can_be_continued() -> None:
    engine = Scripted(ANSWER)
    async with connected(engine) as socket:
        await ask(socket, generate=False, store=False, input=[])
        empty = (await answer(socket))[-1]["response"]
        await ask(socket, generate=False, store=False, previous_response_id=empty["id"])
        warmed = (await answer(socket))[-1]["response"]
        await ask(socket, input=[], store=False, previous_response_id=warmed["id"])
        await answer(socket)

    assert (warmed["status"], warmed["output"], warmed["usage"]["output_tokens"]) == ("completed", [], 0)
    assert [message.content[0]["text"] for message in engine.turns[0].messages] == ["Hi"]


async def test_one_stream_is_answered_in_order_and_streams_side_by_side() -> None:
    held = asyncio.Event()
    engine = Scripted([START, held, *text("slow"), END], ANSWER, [START, *text("second"), END])
    async with connected(engine) as socket:
        await ask(socket, stream_id="a")
        first = json.loads(await socket.recv())
        await ask(socket, stream_id="b")
        await ask(socket, stream_id="a", input="Second")
        other: list[dict[str, Any]] = []
        while not other or other[-1]["type"] != "response.completed" or other[-1]["stream_id"] != "b":
            other.append(json.loads(await socket.recv()))
        held.set()
        mine = [*(await answer(socket)), *(await answer(socket))]

    assert (first["type"], first["stream_id"]) == ("response.created", "a")
    assert {event["stream_id"] for event in mine} == {"a"}
    done = [event["response"] for event in mine if event["type"] == "response.completed"]
    assert [response["output"][0]["content"][0]["text"] for response in done] == ["slow", "second"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("nonsense", None),
        ("[]", None),
        ("{}", "type"),
        ('{"type": "response.cancel"}', "type"),
        (json.dumps({**CREATE, "background": True}), "background"),
        (json.dumps({**CREATE, "stream_id": "a b"}), "stream_id"),
        (json.dumps({**CREATE, "stream_id": 1}), "stream_id"),
        (json.dumps({**CREATE, "tools": [{"type": "file_search"}]}), "tools[0].type"),
        (json.dumps({**CREATE, "generate": False, "model": 1}), "model"),
        ('{"type": "response.create"}', "model"),
    ],
)
async def test_a_wrong_request_gets_an_error_event_and_the_connection_stays_open(
    message: str, param: str | None
) -> None:
    async with connected(Scripted(ANSWER)) as socket:
        await socket.send(message)
        (event,) = await answer(socket)
        await ask(socket)
        events = await answer(socket)

    assert (event["type"], event["status"], event["error"]["param"]) == ("error", 400, param)
    assert events[-1]["type"] == "response.completed"


async def test_a_failure_is_told_with_its_status_and_its_stream() -> None:
    async with connected(Scripted([ClaudeError("overloaded_error")])) as socket:
        await ask(socket, stream_id="a")
        (event,) = await answer(socket)

    assert (event["type"], event["status"], event["stream_id"]) == ("error", 503, "a")


@pytest.mark.parametrize("generate", [True, False])
async def test_a_failing_store_gets_the_same_error_as_over_http(tmp_path: Path, generate: bool) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, connected(Scripted(), stores=stores) as socket:
            database.write(lambda connection: connection.execute(text_of("DROP TABLE response_events")))
            database.write(lambda connection: connection.execute(text_of("DROP TABLE responses")))
            await ask(socket, generate=generate, previous_response_id="resp_1")
            (event,) = await answer(socket)

    assert (event["status"], event["error"]["code"]) == (503, "unavailable")


async def test_an_answer_that_breaks_off_fails() -> None:
    async with connected(Scripted([START, *text("Hel"), ClaudeError("overloaded_error")])) as socket:
        await ask(socket)
        events = [*(await answer(socket)), json.loads(await socket.recv())]

    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]


async def test_the_number_of_waiting_requests_is_limited() -> None:
    held = asyncio.Event()
    slow: list[Any] = [START, held, END]
    engine = Scripted(*[slow] * MAX_LANES, *[ANSWER] * MAX_WAITING)
    async with connected(engine) as socket:
        for lane in range(MAX_LANES + 1):
            await ask(socket, stream_id=f"lane-{lane}")
        for _ in range(MAX_WAITING + 1):
            await ask(socket, stream_id="lane-0")
        refused: list[tuple[str, str]] = []
        while len(refused) < 2:
            event = json.loads(await socket.recv())
            if event["type"] == "error":
                refused.append((event["stream_id"], event["error"]["code"]))
        held.set()
        completed = 0
        while completed < MAX_LANES + MAX_WAITING:
            completed += json.loads(await socket.recv())["type"] == "response.completed"

    assert refused == [
        (f"lane-{MAX_LANES}", "websocket_stream_limit_reached"),
        ("lane-0", "websocket_stream_limit_reached"),
    ]


async def test_a_disconnect_ends_the_turn() -> None:
    held = asyncio.Event()
    engine = Scripted([START, held, END])
    async with connected(engine) as socket:
        await ask(socket)
        await socket.recv()
        await socket.close()
        while not engine.left:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.01)

    assert engine.left == 1


async def test_a_silent_answer_gives_signs_of_life() -> None:
    held = asyncio.Event()
    async with connected(Scripted([START, held, *text("Hi"), END]), keep_alive_s=0.02) as socket:
        await ask(socket)
        await socket.recv()
        await asyncio.sleep(0.1)
        held.set()
        events = await answer(socket)

    assert events[-1]["type"] == "response.completed"


async def test_a_plain_get_is_told_what_there_is() -> None:
    async with client(Scripted()) as http:
        plain = await http.get("/v1/responses")
        older = await http.get(
            "/v1/responses",
            headers={"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "8"},
        )
        keyless = await http.get(
            "/v1/responses",
            headers={"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"},
        )

    assert (plain.status_code, plain.json()["error"]["code"]) == (405, "method_not_allowed")
    assert (older.status_code, older.headers["sec-websocket-version"]) == (426, "13")
    assert keyless.status_code == 400


async def test_a_websocket_is_for_whoever_may_ask() -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connected(Scripted(), token="secret"):
            pass

    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(("message", "code"), [(b"bytes", 1003), ("x" * 2000, 1009)])
async def test_an_invalid_message_closes_the_connection(message: str | bytes, code: int) -> None:
    async with connected(Scripted(), max_message_bytes=1000) as socket:
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code


async def test_an_event_is_encoded_once_and_never_decoded_on_its_way_to_the_socket() -> None:
    async def costs(pieces: int) -> tuple[int, Counter[str]]:
        received: list[str] = []
        async with connected(Scripted([START, *text(*["piece"] * pieces), END])) as socket:
            message = json.dumps({**CREATE, "store": False})
            with counted() as counts:
                await socket.send(message)
                while not received or "response.completed" not in received[-1]:
                    received.append(str(await socket.recv()))
        return len(received), counts

    few, cheap = await costs(1)
    many, dear = await costs(21)

    assert many - few == 20
    assert dear - cheap == Counter({"encoded": 20})
    assert "made SSE" not in dear
