"""A chat completion over HTTP: whole, streamed, failed."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from engine import ClaudeError
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def events(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_a_whole_answer_is_one_body() -> None:
    async with client(Scripted([START, *text("Hel", "lo"), END])) as http:
        answer = await http.post(PATH, json=REQUEST)

    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": [],
    }
    assert body["usage"]["total_tokens"] == 7


async def test_a_stream_ends_with_done() -> None:
    async with client(Scripted([START, *text("Hel", "lo"), END])) as http:
        answer = await http.post(PATH, json={**REQUEST, "stream": True, "stream_options": {"include_usage": True}})

    *chunks, done = events(answer)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]) == "Hello"
    assert chunks[-1]["usage"]["total_tokens"] == 7
    assert done == "[DONE]"


async def test_a_chunk_is_sent_when_its_event_has_come() -> None:
    rest = asyncio.Event()
    async with (
        client(Scripted([START, *text("a")[:2], rest, text("a")[2], END])) as http,
        http.stream("POST", PATH, json={**REQUEST, "stream": True}) as answer,
    ):
        lines = answer.aiter_lines()
        while '"content":"a"' not in await anext(lines):
            pass
        rest.set()
        remaining = [line async for line in lines if line]

    assert remaining[-1] == "data: [DONE]"


async def test_headers_name_the_model_and_the_kind_of_process() -> None:
    async with client(Scripted([START, *text("a"), END]), rehearsal=True) as http:
        answer = await http.post(PATH, json={**REQUEST, "seed": 1})

    told = {name: value for name, value in answer.headers.items() if name.startswith("x-understudy")}
    assert told == {
        "x-understudy-model": "claude-opus-5-5",
        "x-understudy-process": "warm",
        "x-understudy-ignored": "seed",
        "x-understudy-rehearsal": "no model was asked",
    }
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_answer_is_a_status(stream: bool) -> None:
    error = ClaudeError("rate_limit_error", detail="secret words", retry_after_s=7)
    async with client(Scripted([error])) as http:
        answer = await http.post(PATH, json={**REQUEST, "stream": stream})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert "secret words" not in answer.text


async def test_a_failure_amid_a_stream_is_an_event_and_no_done() -> None:
    async with client(Scripted([START, *text("a"), ClaudeError("stream_error")])) as http:
        answer = await http.post(PATH, json={**REQUEST, "stream": True})

    assert events(answer)[-1]["error"]["code"] == "upstream_stream_broken"
    assert "[DONE]" not in answer.text


async def test_a_failure_amid_a_whole_answer_is_a_status() -> None:
    async with client(Scripted([START, *text("a"), ClaudeError("stream_error")])) as http:
        assert (await http.post(PATH, json=REQUEST)).status_code == 502


async def test_events_that_end_before_the_answer_are_a_failure() -> None:
    async with client(Scripted([START, *text("a")])) as http:
        answer = await http.post(PATH, json={**REQUEST, "stream": True})

    assert "[DONE]" not in answer.text
    assert "error" in events(answer)[-1]


@pytest.mark.parametrize(
    ("header", "timeout_s"), [("30", 30.0), ("x", None), ("-1", None), ("inf", None), (None, None)]
)
async def test_how_long_the_client_waits_bounds_the_turn(header: str | None, timeout_s: float | None) -> None:
    engine = Scripted([START, *text("a"), END])
    async with client(engine) as http:
        await http.post(PATH, json=REQUEST, headers={"x-stainless-timeout": header} if header else {})

    assert engine.turns[0].timeout_s == timeout_s


async def test_a_client_that_leaves_ends_the_turn() -> None:
    engine = Scripted([START, *text("a")[:2], asyncio.Event()])
    async with client(engine) as http:
        async with http.stream("POST", PATH, json={**REQUEST, "stream": True}) as answer:
            await anext(answer.aiter_lines())
        async with asyncio.timeout(30):
            while not engine.left:  # noqa: ASYNC110 — the script has no event for it
                await asyncio.sleep(0.01)

    assert engine.left == 1
