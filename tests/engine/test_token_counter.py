"""What is asked of the API to count tokens, and what becomes of its answers."""

import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api.http.responder import Responder
from api.http.server import Request, Server
from engine import token_counter
from engine.errors import ClaudeError
from engine.token_counter import IDENTITY, TokenCounter, counted, custom_headers
from translate.long_work import LARGE
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

TURN = Turn(
    model="haiku",
    messages=(Message("user", ({"type": "text", "text": "Hi"},)),),
    system="Be brief.",
    tools=({"name": "look", "input_schema": {"type": "object"}},),
    tool_choice={"type": "auto"},
    thinking={"type": "adaptive"},
    output_format={"type": "json_schema", "schema": {}},
    max_tokens=5,
    temperature=0.5,
)


@asynccontextmanager
async def api(status: int, body: Any) -> AsyncIterator[tuple[str, list[Request]]]:
    """An API that gives one answer, and what it was asked."""
    asked: list[Request] = []

    async def answer(request: Request, exchange: Responder) -> None:
        asked.append(request)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        await exchange.respond(status, [("content-type", "application/json")], sent)

    handler: Callable[[Request, Any], Awaitable[None]] = answer
    async with Server(handler) as server:
        yield "http://{}:{}".format(*server.addresses[0]), asked


async def test_the_whole_input_is_sent_and_nothing_of_the_answer() -> None:
    environ = {
        "ANTHROPIC_CUSTOM_HEADERS": "x-gateway: a\nnonsense",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "NO_PROXY": "*",
    }
    async with api(200, {"input_tokens": 42}) as (url, asked):
        tokens = await TokenCounter(url + "/", "sk-ant-1", environ)(TURN)

    assert tokens == 42
    (request,) = asked
    assert (request.method, request.path) == ("POST", "/v1/messages/count_tokens")
    assert [request.header(name) for name in ("x-api-key", "anthropic-version", "x-gateway")] == [
        *("sk-ant-1", "2023-06-01", "a")
    ]
    assert json.loads(request.body) == {
        "model": "claude-haiku-5-5",
        "system": [{"type": "text", "text": IDENTITY}, {"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "output_config": {"format": {"type": "json_schema", "schema": {}}},
    }


def test_what_a_turn_lacks_is_not_sent() -> None:
    bare = counted(Turn(model="claude-x", messages=TURN.messages))

    assert bare["model"] == "claude-x"
    assert set(bare) == {"model", "system", "messages"}


async def test_the_proxy_of_claude_code_is_used(caplog: pytest.LogCaptureFixture) -> None:
    async with api(200, {"input_tokens": 7}) as (proxy, asked):
        environ = {"HTTP_PROXY": proxy.removeprefix("http://")}
        tokens = await TokenCounter("http://api.invalid", "sk-ant-1", environ)(TURN)

    assert tokens == 7
    assert asked[0].header("host") == "api.invalid"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"type": "authentication_error", "message": "x"}}),
        (404, {"error": {"type": "not_found_error", "message": "x"}}),
        (400, {"detail": "a gateway's own words"}),
        (429, {"error": {"type": "rate_limit_error", "message": "x"}}),
        (200, {"input_tokens": "many"}),
        (200, []),
        (200, b"<html>"),
    ],
)
async def test_where_the_api_does_not_count_nothing_is_counted(status: int, body: Any) -> None:
    async with api(status, body) as (url, _):
        assert await TokenCounter(url, "sk-ant-1", {})(TURN) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[x", "ftp://127.0.0.1"])
async def test_where_nothing_answers_nothing_is_counted_and_no_secret_is_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await TokenCounter(url, "sk-ant-1", {})(TURN) is None
    assert "estimated" in caplog.text
    assert "sk-ant-1" not in caplog.text


async def test_a_turn_that_the_api_refuses_is_refused_for_its_reason() -> None:
    refusal = {"error": {"type": "invalid_request_error", "message": "messages: at least one message is required"}}
    async with api(400, refusal) as (url, _):
        with pytest.raises(ClaudeError) as raised:
            await TokenCounter(url, "sk-ant-1", {})(TURN)

    assert (raised.value.kind, raised.value.reason) == (
        "invalid_request_error",
        "messages: at least one message is required.",
    )


def test_custom_headers_are_lines() -> None:
    assert custom_headers("a: b\n c :d:e\r\n\n:x\nnone") == {"a": "b", "c": "d:e"}


def test_property_names_that_the_api_refuses_are_renamed_as_in_a_turn() -> None:
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"filter[id]": {"type": "string"}}}}
    said = Message("user", ({"type": "text", "text": "Hi"},))

    (sent,) = counted(Turn("haiku", (said,), tools=(tool,)))["tools"]

    assert all("[" not in name for name in sent["input_schema"]["properties"])


def nested(levels: int) -> dict[str, Any]:
    inside: dict[str, Any] = {}
    for _ in range(levels):
        inside = {"a": inside}
    return inside


@pytest.mark.parametrize("name", ["filter[id]", "plain"])
async def test_arguments_that_are_nested_too_deeply_are_an_error_of_the_request(name: str) -> None:
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {name: {"type": "object"}}}}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {name: nested(200_000)}}
    turn = Turn("haiku", (TURN.messages[0], Message("assistant", (call,)), TURN.messages[0]), tools=(tool,))

    async with api(200, {"input_tokens": 1}) as (url, asked):
        with pytest.raises(ClaudeError) as raised:
            await TokenCounter(url, "sk-ant-1", {})(turn)

    assert (raised.value.kind, "too deeply" in str(raised.value.reason)) == ("invalid_request_error", True)
    assert asked == []


async def test_the_body_of_a_large_turn_is_made_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    real = token_counter.counted

    def noting(turn: Turn) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return real(turn)

    monkeypatch.setattr(token_counter, "counted", noting)
    async with api(200, {"input_tokens": 1}) as (url, _):
        await TokenCounter(url, "sk-ant-1", {})(replace(TURN, system="a" * LARGE))

    assert threads != [threading.current_thread().name]
