"""OpenAI's WebSocket mode through the whole proxy: unmodified, recorded, replayed, and ended with the proxy."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cassettes.format import Entry
from cassettes.read import read
from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import APPS, Proxy, clean_environment, run, serve

# The library's other client reads and writes a TLS socket in two threads, which not every Python does safely.
pytestmark = pytest.mark.anyio

CREATE: dict[str, Any] = {"type": "response.create", "model": "gpt-4o", "store": False}


@contextlib.asynccontextmanager
async def websocket(proxy: Proxy) -> AsyncIterator[ClientConnection]:
    async with connect(
        "wss://api.openai.com/v1/responses",
        proxy=proxy.url,
        ssl=proxy.tls(),
        additional_headers={"authorization": "Bearer sk-of-the-app"},
    ) as socket:
        yield socket


async def answer(socket: ClientConnection, **fields: Any) -> list[dict[str, Any]]:
    """Ask, and take the events up to the last."""
    await socket.send(json.dumps({**CREATE, **fields}))
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ("response.completed", "error"):
        events.append(json.loads(await socket.recv()))
    return events


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["delta"] for event in events if event["type"] == "response.output_text.delta"]


def test_an_unmodified_app_goes_on_over_one_websocket(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one"), Reply(text="two"))

    env = clean_environment(home, cloud.base_url, OPENAI_API_KEY="sk-of-the-app")
    done = run([sys.executable, str(APPS / "websocket.py")], env)

    assert (done.returncode, json.loads(done.stdout)) == (0, ["one", "two"]), done.stderr
    said = [(m["role"], m["content"][0]["text"]) for m in cloud.turns[1].body["messages"]]
    assert said == [("user", "Say one."), ("assistant", "one"), ("user", "Say two.")]


async def test_pieces_come_as_claude_gives_them(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={2: gate}))

    async with websocket(proxy) as socket:
        await socket.send(json.dumps({**CREATE, "input": "Count."}))
        before: list[dict[str, Any]] = []
        while len(texts(before)) < 2:
            before.append(json.loads(await socket.recv()))
        gate.open()
        after = [json.loads(await socket.recv())]
        while after[-1]["type"] != "response.completed":
            after.append(json.loads(await socket.recv()))

    assert "".join(texts(before + after)) == "one two three"


async def test_websocket_requests_are_recorded_and_replayed(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one two"), Reply(text="three"))
    cassette = home / "c.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        async with websocket(proxy) as socket:
            warmed = (await answer(socket, input="Say one.", generate=False))[-1]["response"]["id"]
            first = await answer(socket, input=[], previous_response_id=warmed, stream_id="a")
            wrong = await answer(socket, input=1)
            last = await answer(socket, input="More.", previous_response_id=first[-1]["response"]["id"])
    with serve(clean_environment(home), "--replay", str(cassette), "--speed", "0") as proxy:
        async with websocket(proxy) as socket:
            again = [
                await answer(socket, input=[], previous_response_id=warmed, stream_id="a"),
                await answer(socket, input=1),
                await answer(socket, input="More.", previous_response_id=first[-1]["response"]["id"]),
            ]

    assert again == [first, wrong, last]
    entries = [entry for entry in read(cassette) if isinstance(entry, Entry)]
    assert [(entry.request.method, entry.status, entry.turn is not None) for entry in entries] == [
        ("POST", 200, True),
        ("POST", 400, False),
        ("POST", 200, True),
    ]
    assert "sk-of-the-app" not in cassette.read_text()


async def test_each_answer_is_recorded_with_its_own_request_whatever_comes_between(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two", gates={1: gate}), Reply(text="three"))
    cassette = home / "c.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:
        async with websocket(proxy) as socket:
            # The first is amid its answer, and two more wait, when two are refused at once.
            await socket.send(json.dumps({**CREATE, "input": "Good."}))
            while json.loads(await socket.recv())["type"] != "response.output_text.delta":
                pass
            await socket.send(json.dumps({**CREATE, "input": "Warm.", "generate": False}))
            await socket.send(json.dumps({**CREATE, "input": "Later."}))
            await socket.send(json.dumps({**CREATE, "input": "Refused.", "background": True}))
            await socket.send(json.dumps({"type": "nothing", "input": "Not understood."}))
            errors = [json.loads(await socket.recv())["type"] for _ in range(2)]
            gate.open()
            ends = 0
            while ends < 3:
                ends += json.loads(await socket.recv())["type"] == "response.completed"
        proxy.end()

    entries = {str(entry.request.json["input"]): entry for entry in read(cassette) if isinstance(entry, Entry)}
    assert errors == ["error", "error"]
    assert {asked: (entry.status, entry.how) for asked, entry in entries.items()} == {
        "Good.": (200, "done"),
        "Later.": (200, "done"),
        "Refused.": (400, "done"),
    }
    assert b"one" in entries["Good."].body and b"event: error" not in entries["Good."].body
    assert b"three" in entries["Later."].body and b"two" not in entries["Later."].body


async def test_a_proxy_that_ends_closes_its_websockets_when_they_have_been_answered(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two", gates={1: gate}))
    with serve(clean_environment(home, cloud.base_url)) as proxy:
        async with websocket(proxy) as busy, websocket(proxy) as idle:
            await busy.send(json.dumps({**CREATE, "input": "Count."}))
            await busy.recv()
            proxy.process.terminate()
            with pytest.raises(ConnectionClosed) as caught:
                await idle.recv()
            gate.open()
            events = [json.loads(message) async for message in busy]
        status = await asyncio.to_thread(proxy.process.wait, GUARD_S)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert events[-1]["type"] == "response.completed"
    assert status == 143
