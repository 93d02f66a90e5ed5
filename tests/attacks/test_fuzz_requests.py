"""Whatever a request's head or body is made of, it is answered or refused, and the next one is answered."""

import base64
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.api.scripted import END, START, Scripted, client, text
from tests.attacks.fuzzing import cases, changed, check_answer, check_error, varied
from tests.attacks.victim import HOST, PATH, Victim, answer_on, status_of
from translate.turn import Turn

pytestmark = pytest.mark.anyio

CHAT: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": ""}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    "stream_options": {"include_usage": True},
    "stop": ["x"],
    "max_completion_tokens": 10,
    "n": 1,
    "metadata": {"a": "b"},
    "stream": True,
}
RESPONSE: dict[str, Any] = {
    "model": "gpt-4o",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
    ],
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "web_search"}],
    "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low", "summary": "auto"},
    "conversation": None,
    "previous_response_id": None,
    "include": [],
    "store": False,
    "truncation": "auto",
}
BODIES = [
    ("/v1/chat/completions", CHAT),
    ("/v1/responses", RESPONSE),
    ("/v1/completions", {"model": "gpt-4o", "prompt": ["Hello"], "suffix": "x", "echo": True, "logprobs": 1}),
    ("/v1/conversations", {"metadata": {"a": "b"}, "items": RESPONSE["input"][:1]}),
    ("/v1/responses/compact", {"model": "gpt-4o", "input": RESPONSE["input"][:1]}),
]


class Willing(Scripted):
    """Answers every turn."""

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Any]:
        self._scripts.append([START, *text("Hello."), END])
        async with super().run(turn) as running:
            yield running


@pytest.fixture
async def origin() -> AsyncIterator[Any]:
    async with client(Willing()) as http:
        yield http


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[path for path, _ in BODIES])
async def test_bodies(path: str, body: dict[str, Any], origin: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for seed, by in cases(120):
            sent = json.dumps(varied(by, body)).encode()
            sent = changed(by, sent) if by.random() < 0.3 else sent
            check_answer(await origin.post(path, content=sent, headers={"content-type": "application/json"}), seed)
        innocent = await origin.post("/v1/conversations", json={})

    assert innocent.status_code == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def heads(proxy: Victim) -> list[tuple[tuple[str, int], bytes]]:
    """Return heads, and the doors that they are for."""
    login = base64.b64encode(f"me:{proxy.key}".encode()).decode()
    through = (proxy.proxy.host, proxy.proxy.port)
    chunked = proxy.head("Transfer-Encoding: chunked", "Expect: 100-continue", path="/v1/nothing")
    return [
        (proxy.door, proxy.head("Content-Length: 2", "Content-Type: application/json") + b"{}"),
        (proxy.door, proxy.head("Content-Length: 2", key=False) + b"{}"),
        (proxy.door, chunked + b"2\r\n{}\r\n0\r\n\r\n"),
        (proxy.door, proxy.head("Origin: http://a.example", "Sec-Fetch-Site: cross-site", method="OPTIONS")),
        (proxy.door, proxy.head("Connection: upgrade", "Upgrade: websocket", method="GET", path="/v1/responses")),
        (proxy.door, proxy.head("Cookie: a=b", "Accept: text/html", method="GET", path="/v1/models/x?y=z%20")),
        (
            through,
            f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\nProxy-Authorization: Basic {login}\r\n\r\n".encode(),
        ),
        (
            through,
            f"POST http://{HOST}{PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n"
            f"Proxy-Authorization: Basic {login}\r\n\r\n{{}}".encode(),
        ),
        (through, b"GET http://understudy.local/ HTTP/1.1\r\nHost: understudy.local\r\n\r\n"),
    ]


def traceback_in(log: str) -> str:
    """Return the first traceback, "" if there is none."""
    before, _, after = log.partition("Traceback")
    return before[-300:] + after[:4000] if after else ""


def test_heads(victim: Callable[..., Victim]) -> None:
    # Nothing that they make up is resolved or reached.
    proxy = victim(tunnel="nothing.invalid", request_timeout_s=2)
    every = heads(proxy)
    for seed, by in cases(250):
        door, head = by.choice(every)
        with proxy.open(door) as connection, suppress(OSError):
            connection.sendall(changed(by, head))
            connection.shutdown(socket.SHUT_WR)
            answer = answer_on(connection)
            assert status_of(answer) not in (500, 502), (seed, answer)
            told, _, body = answer.partition(b"\r\n\r\n")
            if status_of(answer) >= 400 and b"application/json" in told and body:
                check_error(body, seed)
    assert proxy.innocent().status_code == 200
    assert traceback_in(proxy.proxy.err.text) == ""
