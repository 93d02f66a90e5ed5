"""The Responses API over the scripted engine: bodies, streams, failures, and what is remembered."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from engine import ClaudeError
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

BODY: dict[str, Any] = {"model": "gpt-4o", "input": "Hi"}
ANSWER = [START, *text("Hel", "lo."), END]


def events_in(body: str) -> list[dict[str, Any]]:
    found = []
    for event in body.split("\n\n"):
        name, _, data = event.partition("\n")
        if name.startswith("event: "):
            found.append(json.loads(data.removeprefix("data: ")))
            assert found[-1]["type"] == name.removeprefix("event: ")
    return found


async def test_an_answer_is_a_response() -> None:
    async with client(Scripted(ANSWER)) as http:
        answer = await http.post("/v1/responses", json=BODY)

    body = answer.json()
    assert (answer.status_code, body["object"], body["status"]) == (200, "response", "completed")
    assert body["output"][0]["content"][0]["text"] == "Hello."
    assert answer.headers["x-understudy-process"] == "warm"


async def test_a_stream_begins_and_ends_as_openais_and_says_the_same() -> None:
    async with client(Scripted(ANSWER)) as http:
        answer = await http.post("/v1/responses", json={**BODY, "stream": True})

    events = events_in(answer.text)
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == ["Hel", "lo."]
    assert "[DONE]" not in answer.text


async def test_a_conversation_goes_on_from_its_last_response() -> None:
    engine = Scripted(ANSWER, ANSWER)
    async with client(engine) as http:
        first = (await http.post("/v1/responses", json=BODY)).json()
        second = await http.post(
            "/v1/responses", json={**BODY, "input": "And?", "previous_response_id": first["id"], "stream": True}
        )

    assert second.status_code == 200
    assert [(m.role, m.content[0]["text"]) for m in engine.turns[1].messages] == [
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "And?"),
    ]


@pytest.mark.parametrize(
    ("made_by", "asked_by", "store", "status"),
    [("ann", "ann", True, 200), ("ann", "bob", True, 400), ("ann", "ann", False, 400)],
    ids=["its owner", "somebody else", "not to be stored"],
)
async def test_only_its_owner_can_go_on_from_a_response(made_by: str, asked_by: str, store: bool, status: int) -> None:
    async with client(Scripted(ANSWER, ANSWER)) as http:
        first = await http.post("/v1/responses", json={**BODY, "store": store}, headers=key(made_by))
        answer = await http.post(
            "/v1/responses", json={**BODY, "previous_response_id": first.json()["id"]}, headers=key(asked_by)
        )

    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["code"] == "previous_response_not_found"


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer sk-{name}"}


async def test_a_response_can_be_had_again_and_deleted() -> None:
    async with client(Scripted(ANSWER)) as http:
        made = (await http.post("/v1/responses", json=BODY)).json()
        again = await http.get(f"/v1/responses/{made['id']}")
        items = await http.get(f"/v1/responses/{made['id']}/input_items")
        deleted = await http.delete(f"/v1/responses/{made['id']}")
        gone = await http.get(f"/v1/responses/{made['id']}")

    assert again.json() == made
    assert [item["role"] for item in items.json()["data"]] == ["user"]
    assert deleted.json() == {"id": made["id"], "object": "response", "deleted": True}
    assert gone.status_code == 404


@pytest.mark.parametrize("path", ["/v1/responses/resp_none", "/v1/responses/resp_none/input_items"])
async def test_an_unknown_response_gets_404(path: str) -> None:
    async with client(Scripted()) as http:
        answer: httpx.Response = await http.get(path)

    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_event_has_its_status(stream: bool) -> None:
    async with client(Scripted([ClaudeError("overloaded_error")])) as http:
        answer = await http.post("/v1/responses", json={**BODY, "stream": stream})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")


async def test_a_failure_amid_a_stream_is_its_last_event() -> None:
    async with client(Scripted([START, *text("a"), ClaudeError("overloaded_error")])) as http:
        answer = await http.post("/v1/responses", json={**BODY, "stream": True})

    assert events_in(answer.text)[-1]["type"] == "response.failed"


async def test_a_silent_stream_shows_that_it_lives() -> None:
    come = asyncio.Event()
    seen = b""
    async with (
        asyncio.timeout(30),
        client(Scripted([come, *ANSWER]), keep_alive_s=0.01) as http,
        http.stream("POST", "/v1/responses", json={**BODY, "stream": True}) as answer,
    ):
        async for piece in answer.aiter_bytes():
            seen += piece
            come.set()

    assert seen.startswith(b": keep-alive\n\n")
    assert events_in(seen.decode().partition("\n\n")[2] or "") or b"response.completed" in seen


async def test_an_unsupported_tool_gets_400_with_its_place() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/responses", json={**BODY, "tools": [{"type": "code_interpreter"}]})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("tools[0]")
