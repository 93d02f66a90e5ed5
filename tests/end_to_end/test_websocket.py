"""OpenAI's WebSocket mode through the whole proxy: unmodified, recorded, replayed, and ended with the proxy."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from rehearsal import Reply
from tape.format import Entry
from tape.read import read
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import APPS, Proxy, clean_environment, run, serve

CREATE: dict[str, Any] = {"type": "response.create", "model": "gpt-4o", "store": False}


@contextlib.contextmanager
def websocket(proxy: Proxy) -> Iterator[ClientConnection]:
    with connect(
        "wss://api.openai.com/v1/responses",
        proxy=proxy.url,
        ssl=proxy.tls(),
        additional_headers={"authorization": "Bearer sk-of-the-app"},
    ) as socket:
        yield socket


def answer(socket: ClientConnection, **fields: Any) -> list[dict[str, Any]]:
    """Ask, and take the events up to the last."""
    socket.send(json.dumps({**CREATE, **fields}))
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ("response.completed", "error"):
        events.append(json.loads(socket.recv()))
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


def test_pieces_come_as_claude_gives_them(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={2: gate}))

    with websocket(proxy) as socket:
        socket.send(json.dumps({**CREATE, "input": "Count."}))
        before: list[dict[str, Any]] = []
        while len(texts(before)) < 2:
            before.append(json.loads(socket.recv()))
        gate.open()
        after = [json.loads(socket.recv())]
        while after[-1]["type"] != "response.completed":
            after.append(json.loads(socket.recv()))

    assert "".join(texts(before + after)) == "one two three"


def test_what_passed_over_a_websocket_is_recorded_and_replayed(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one two"), Reply(text="three"))
    cassette = home / "c.jsonl"
    with serve(clean_environment(home, cloud.base_url), "--record", str(cassette)) as proxy:  # noqa: SIM117
        with websocket(proxy) as socket:
            warmed = answer(socket, input="Say one.", generate=False)[-1]["response"]["id"]
            first = answer(socket, input=[], previous_response_id=warmed, stream_id="a")
            wrong = answer(socket, input=1)
            last = answer(socket, input="More.", previous_response_id=first[-1]["response"]["id"])
    with serve(clean_environment(home), "--replay", str(cassette), "--speed", "0") as proxy, websocket(proxy) as socket:
        again = [
            answer(socket, input=[], previous_response_id=warmed, stream_id="a"),
            answer(socket, input=1),
            answer(socket, input="More.", previous_response_id=first[-1]["response"]["id"]),
        ]

    assert again == [first, wrong, last]
    entries = [entry for entry in read(cassette) if isinstance(entry, Entry)]
    assert [(entry.request.method, entry.status, entry.turn is not None) for entry in entries] == [
        ("POST", 200, True),
        ("POST", 400, False),
        ("POST", 200, True),
    ]
    assert "sk-of-the-app" not in cassette.read_text()


def test_a_proxy_that_ends_closes_its_websockets_when_they_have_been_answered(cloud: Cloud, home: Path) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two", gates={1: gate}))
    with serve(clean_environment(home, cloud.base_url)) as proxy, websocket(proxy) as busy, websocket(proxy) as idle:
        busy.send(json.dumps({**CREATE, "input": "Count."}))
        json.loads(busy.recv())
        proxy.process.terminate()
        with pytest.raises(ConnectionClosed) as caught:
            idle.recv()
        gate.open()
        events = [json.loads(message) for message in busy]
        status = proxy.process.wait(30)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert events[-1]["type"] == "response.completed"
    assert status == 143
