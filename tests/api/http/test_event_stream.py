"""A silent stream shows that it lives, and an error after that is an event."""

import asyncio

import pytest

from engine import ClaudeError
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

GUARD_S = 30
BODY = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


async def lines_of(engine: Scripted, release: asyncio.Event, until: bytes, **fields: float) -> tuple[int, bytes]:
    """Return the status and the whole stream; ``release`` is set once ``until`` has been seen."""
    seen = b""
    async with (
        asyncio.timeout(GUARD_S),
        client(engine, **fields) as http,
        http.stream("POST", "/v1/chat/completions", json=BODY) as answer,
    ):
        async for piece in answer.aiter_bytes():
            seen += piece
            if until in seen:
                release.set()
    return answer.status_code, seen


async def test_an_answer_that_is_long_in_coming_shows_that_it_lives() -> None:
    come = asyncio.Event()
    engine = Scripted([come, START, *text("a"), END])

    status, stream = await lines_of(engine, come, b": keep-alive\n\n", keep_alive_s=0.01)

    assert status == 200
    assert stream.startswith(b": keep-alive\n\n")
    assert stream.endswith(b"data: [DONE]\n\n")


async def test_silence_amid_an_answer_is_bridged_too() -> None:
    come = asyncio.Event()
    engine = Scripted([START, *text("a"), come, *text("b"), END])

    _, stream = await lines_of(engine, come, b": keep-alive\n\n", keep_alive_s=0.01)

    assert stream.index(b'"a"') < stream.index(b": keep-alive") < stream.index(b'"b"')


async def test_a_failure_after_the_first_sign_of_life_is_an_event() -> None:
    come = asyncio.Event()
    engine = Scripted([come, ClaudeError("overloaded_error")])

    status, stream = await lines_of(engine, come, b": keep-alive\n\n", keep_alive_s=0.01)

    assert status == 200
    assert b'"code":"overloaded"' in stream
    assert b"[DONE]" not in stream


async def test_a_failure_before_it_has_its_status() -> None:
    engine = Scripted([ClaudeError("overloaded_error")])

    status, stream = await lines_of(engine, asyncio.Event(), b"never")

    assert status == 503
    assert b"keep-alive" not in stream


async def test_a_stream_that_keeps_moving_carries_no_comments() -> None:
    engine = Scripted([START, *text(*"abcdef"), END])

    _, stream = await lines_of(engine, asyncio.Event(), b"never", keep_alive_s=GUARD_S)

    assert b"keep-alive" not in stream
