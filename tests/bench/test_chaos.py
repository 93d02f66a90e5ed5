"""A chaos run counts what it says, and a proxy that is killed amid its answers loses nothing."""

import json
import sys
from collections.abc import Callable

import httpx2  # what openai-python is made of
import openai
import pytest

from bench.chaos import Recovery, Report, Tally, chaos, lost_of

MINE, THEIRS = "mark-000000000000000a", "mark-000000000000000b"


def report(**fields: object) -> Report:
    found: dict[str, object] = {
        "answers": 1,
        "mixed": 0,
        "unmarked": 0,
        "acknowledged": 1,
        "lost": 0,
        "recorded": 1,
        "orphans": 0,
        "recoveries": [Recovery("the start", 1.0)],
        "refused": {"status 503": 3},
        "database": "SQLite",
        "log": "",
    }
    return Report(**found | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "whole", "counted"),
    [
        (f"You said: {MINE}.", True, (1, 0, 0)),
        (f"You said: {THEIRS}.", True, (1, 1, 0)),
        (f"{MINE} {THEIRS}", True, (1, 1, 0)),
        ("Hello.", True, (1, 0, 1)),
        ("You said: mark-0000", False, (0, 0, 0)),
        (THEIRS, False, (0, 1, 0)),
    ],
)
def test_the_mark_shows_whose_answer_it_is(text: str, whole: bool, counted: tuple[int, int, int]) -> None:
    tally = Tally()
    tally.check(text, MINE, whole=whole)
    assert (tally.answers, tally.mixed, tally.unmarked) == counted


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"mixed": 2}, "2 mixed answers"),
        ({"unmarked": 1}, "1 answers without their mark"),
        ({"lost": 3}, "3 acknowledged responses lost"),
        ({"orphans": 1}, "1 orphans"),
        ({"recoveries": [Recovery("disk full", None)]}, "1 disturbances without recovery"),
        ({"answers": 0}, "1 runs without an answer"),
    ],
)
def test_each_forbidden_result_is_a_fault(fields: dict[str, object], fault: str) -> None:
    assert report(**fields).faults == [fault]


def test_errors_alone_are_no_fault() -> None:
    assert report().faults == []


def stored(text: str) -> Callable[[httpx2.Request], httpx2.Response]:
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [content]}
    return lambda _: httpx2.Response(200, json={"id": "resp_1", "object": "response", "output": [message]})


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (stored(f"You said: {MINE}."), 0),
        (stored(f"You said: {THEIRS}."), 1),
        (stored(""), 1),
        (lambda _: httpx2.Response(404, json={"error": {"message": "not found"}}), 1),
    ],
    ids=["it is there", "it is another's", "it is empty", "it is gone"],
)
@pytest.mark.anyio
async def test_acknowledged_responses_are_read_again(
    answer: Callable[[httpx2.Request], httpx2.Response], lost: int
) -> None:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = openai.AsyncOpenAI(api_key="sk-any", http_client=http, max_retries=0)
    assert await lost_of(client, {"resp_1": MINE}) == lost


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")
@pytest.mark.anyio
async def test_killing_the_proxy_and_claude_loses_and_mixes_nothing() -> None:
    found = await chaos(1, ["kill -9 of the proxy", "kill -9 of every claude"])
    told = json.dumps({"faults": found.faults, "refused": found.refused}) + found.log[-20_000:]
    assert found.faults == [], told
    assert {it.after for it in found.recoveries} == {"the start", "kill -9 of the proxy", "kill -9 of every claude"}
    assert found.answers >= found.acknowledged > 0, told
    assert found.recorded > 0, told
