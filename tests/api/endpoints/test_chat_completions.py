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


async def test_status_and_headers_are_sent_when_claude_begins() -> None:
    rest = asyncio.Event()
    async with (
        client(Scripted([START, rest, *text("a"), END])) as http,
        http.stream("POST", PATH, json={**REQUEST, "stream": True}) as answer,
    ):
        assert answer.status_code == 200
        rest.set()
        lines = [line async for line in answer.aiter_lines() if line]

    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == ""


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("wish", "padded"), [({}, True), ({"include_obfuscation": False}, False)])
async def test_each_chunk_is_padded_unless_the_app_does_not_want_it(
    count: int, wish: dict[str, bool], padded: bool
) -> None:
    options = {"include_usage": True, **wish}
    asked = {**REQUEST, "n": count, "stream": True, "stream_options": options}
    async with client(Scripted(*[[START, *text("Hel", "lo"), END]] * count)) as http:
        *chunks, _ = events(await http.post(PATH, json=asked))

    assert {"obfuscation" in chunk for chunk in chunks} == {padded}


async def test_the_oldest_path_of_completions_names_the_model() -> None:
    engine = Scripted([START, *text("b"), END])
    async with client(engine, model_map={"gpt-4o": "opus"}) as http:
        answer = await http.post("/v1/engines/gpt-4o/completions", json={"prompt": "a", "model": "o3"})

    assert (answer.json()["model"], answer.json()["choices"][0]["text"]) == ("gpt-4o", "b")
    assert engine.turns[0].model == "opus"


async def test_a_body_that_is_no_json_is_refused_at_the_oldest_path_too() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/engines/gpt-4o/completions", content=b"no")

    assert answer.status_code == 400
