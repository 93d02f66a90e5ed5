"""The state of the engine, for people and monitors."""

import pytest

from api.endpoints.status import STATUS_PATH
from engine import ClaudeError
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio


UNUSED = {
    **dict.fromkeys(("requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"), 0),
    "web_searches": 0,
    "usd": 0,
    "requests_unpriced": 0,
}
QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


async def test_the_engines_state_is_told() -> None:
    async with client(Scripted(), rehearsal=True) as http:
        answer = await http.get(STATUS_PATH)

    assert answer.json() == {"rehearsal": True, "turns": 0, "used": UNUSED}
    assert answer.headers["cache-control"] == "no-store"


async def test_the_status_has_the_usage_since_the_start() -> None:
    unpriced = {"type": "message_start", "message": {"model": "claude-opus-9", "usage": {"input_tokens": 3}}}
    scripts = ([START, *text("a"), END], [ClaudeError("overloaded_error")], [unpriced, *text("b"), END])
    async with client(Scripted(*scripts)) as http:
        for _ in scripts:
            await http.post("/v1/chat/completions", json=QUESTION)
        answer = await http.get(STATUS_PATH)

    assert answer.json()["used"] == {
        **UNUSED,
        "requests": 3,
        "input_tokens": 8,
        "output_tokens": 4,
        "usd": 0.00006,
        "requests_unpriced": 1,
    }


async def test_the_proxys_port_tells_nobody_else() -> None:
    async with client(Scripted(), token="secret") as http:
        answer = await http.get(STATUS_PATH)

    assert answer.status_code == 403
