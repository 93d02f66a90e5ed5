"""The rest of what a replay does is in tests/end_to_end/test_record_and_replay.py, with unmodified clients."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.http.server import Request
from api.replay import NoEngine, Pace, Player, Score, replaying
from cassettes.record.record import Recorder
from cassettes.replay.match import Rules
from engine import ClaudeError
from translate.errors import OpenAIError
from translate.turn import Turn

pytestmark = pytest.mark.anyio


class Stage:
    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.body = body


def request(value: Any, path: str = "/v1/chat/completions") -> Request:
    return Request("POST", path, "", (), json.dumps(value).encode())


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as recorder:
        for text in ("one", "one", "two"):
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
            recording = recorder.begin("POST", "/v1/chat/completions", [], body)
            recording.respond(1, 200, [("content-type", "application/json")])
            recording.chunk(2, b'{"text": "%s"}' % text.encode())
            recording.end("done")
    return path


def ask(text: str) -> Request:
    return request({"model": "m", "messages": [{"role": "user", "content": text}]})


async def play(player: Player, *requests: Request, live: bool = False) -> list[Any]:
    told: list[Any] = []

    async def real(request: Request, exchange: Any) -> None:
        told.append("live")

    handler = replaying(player, real, live=live, always_live=("/v1/models",))
    for one in requests:
        stage = Stage()
        try:
            await handler(one, stage)  # type: ignore[arg-type]
        except OpenAIError as error:
            told.append((error.status, error.code))
        else:
            told.append(stage.body) if stage.body else None
    return told


async def test_a_recorded_request_is_answered_and_counted(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None))
    assert await play(player, ask("one"), ask("one"), ask("one")) == [b'{"text": "one"}'] * 3
    assert sorted(player.score.used.values()) == [1, 2]
    assert len(player.score.unused) == 1
    first, second = player.score.lines()
    assert first == "replay: 3 of 3 requests answered; 2 of 3 entries used"
    assert second.startswith("replay: not used: ")


async def test_a_key_that_is_a_word_of_the_prompt_does_not_keep_it_from_being_found(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "What is an understudy?"}]}
    with Recorder(tmp_path / "a.jsonl") as recorder:
        headers = [("authorization", "Bearer understudy")]
        recording = recorder.begin("POST", "/v1/chat/completions", headers, json.dumps(body).encode())
        recording.respond(1, 200, [("content-type", "application/json")])
        recording.chunk(2, b'{"text": "It stands in."}')
        recording.end("done")
    player = Player.of(tmp_path / "a.jsonl", pace=Pace(None))
    asked = dataclasses.replace(request(body), headers=(("authorization", "Bearer understudy"),))

    assert b"understudy?" not in (tmp_path / "a.jsonl").read_bytes()
    assert await play(player, asked) == [b'{"text": "It stands in."}']


async def test_an_entry_may_answer_only_once(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None), rules=Rules(reuse=False))
    assert (await play(player, ask("two"), ask("two")))[1] == (409, "no_recorded_answer")


async def test_in_order_the_next_must_be_the_next(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None), rules=Rules(in_order=True))
    told = await play(player, ask("one"), ask("two"), ask("one"), ask("two"), ask("two"))
    assert [one if isinstance(one, bytes) else one[0] for one in told] == [
        b'{"text": "one"}',
        409,
        b'{"text": "one"}',
        b'{"text": "two"}',
        409,
    ]


async def test_only_what_is_to_be_the_same_is_compared(cassette: Path) -> None:
    other = request({"model": "another", "temperature": 1, "messages": [{"role": "user", "content": "two"}]})
    assert (await play(Player.of(cassette, pace=Pace(None)), other))[0] == (409, "no_recorded_answer")
    player = Player.of(cassette, pace=Pace(None), rules=Rules(only=("messages",)))
    assert await play(player, other) == [b'{"text": "two"}']


async def test_a_miss_goes_live_where_that_is_wanted_and_is_counted(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None))
    assert await play(player, ask("three"), live=True) == ["live"]
    assert (player.score.missed, player.score.live) == ([], 1)
    assert next(player.score.lines(1)) == "replay: 0 requests answered from the cassette, 1 asked live and recorded"
    assert next(player.score.lines()) == "replay: 0 requests answered from the cassette, 1 asked live"


async def test_a_miss_is_told_with_the_nearest_entry(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None))
    assert await play(player, ask("three"), ask("two")) == [(409, "no_recorded_answer"), b'{"text": "two"}']
    first, *_, last = player.score.lines()
    assert first == "replay: 1 of 2 requests answered; 1 of 3 entries used"
    assert last == f"replay: missed: POST /v1/chat/completions (the nearest entry is {player.score.nearest[0]})"
    assert player.score.nearest[0] in player.score.entries


async def test_a_path_that_needs_no_claude_is_answered_without_a_recording(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None))
    assert await play(player, request({}, "/v1/models")) == ["live"]
    assert player.score.missed == []


async def test_a_cassette_that_is_gone_is_a_miss_and_no_crash(cassette: Path) -> None:
    player = Player.of(cassette, pace=Pace(None))
    os.truncate(cassette, 0)
    assert await play(player, ask("one")) == [(409, "no_recorded_answer")]


async def test_there_is_no_claude_behind_a_replay() -> None:
    with pytest.raises(ClaudeError):
        NoEngine().run(Turn(model="opus", messages=()))
    assert NoEngine().status() == {}


def test_a_long_score_is_cut() -> None:
    score = Score(entries=tuple(f"e{n}" for n in range(50)), missed=["POST /x"] * 30)
    lines = list(score.lines())
    assert lines[1].endswith("and 40 more")
    assert lines[-1] == "replay: 20 more missed"
    assert len(lines) == 13


@pytest.fixture
def with_failures(tmp_path: Path) -> Path:
    """One request that failed and was then answered, and one that only failed."""
    path = tmp_path / "f.jsonl"
    with Recorder(path) as recorder:
        for text, status in (("one", 503), ("one", 200), ("two", 401)):
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
            recording = recorder.begin("POST", "/v1/chat/completions", [], body)
            recording.respond(1, status, [("content-type", "application/json")])
            recording.chunk(2, f"{text} {status}".encode())
            recording.end("done")
    return path


async def test_a_failure_of_the_proxy_answers_only_where_nothing_better_is_recorded(with_failures: Path) -> None:
    player = Player.of(with_failures, failures="last", pace=Pace(None))
    assert await play(player, ask("one"), ask("one"), ask("two")) == [b"one 200", b"one 200", b"two 401"]
    assert [told.failure for told in player.score.told] == ["", "", "401"]
    assert [(told.request, told.file) for told in player.score.told] == [
        ("POST /v1/chat/completions", with_failures)
    ] * 3
    assert len([line for line in player.score.lines() if "failures of the proxy, not played" in line]) == 1


async def test_a_failure_of_the_proxy_is_asked_again_where_claude_can_be_asked(with_failures: Path) -> None:
    player = Player.of(with_failures, failures="never", pace=Pace(None))
    assert await play(player, ask("one"), ask("two"), live=True) == [b"one 200", "live"]
    assert [told.entry is None for told in player.score.told] == [False, True]


@pytest.mark.parametrize("rules", [None, Rules(reuse=False), Rules(in_order=True)])
async def test_failures_answer_as_recorded_where_that_is_wanted(with_failures: Path, rules: Rules | None) -> None:
    # Entries that answer once or in order have their place whether they failed or not.
    player = Player.of(with_failures, failures="last" if rules else "as_recorded", rules=rules, pace=Pace(None))
    assert await play(player, ask("one"), ask("one"), ask("two")) == [b"one 503", b"one 200", b"two 401"]
