"""What a recorded exchange used, of Claude's counts or, where there are none, of the app's."""

from pathlib import Path
from typing import Any

import pytest

from cassettes.format import Entry, Event, Request
from cassettes.summary import Summary
from cassettes.usage import Total, Usage, entry_usage, summary_usage, total
from translate.usage import MessageUsage

CHAT = Request("POST", "/v1/chat/completions?trace=1", {}, None, b"")
CLAUDE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 200,
    "cache_creation_input_tokens": 50,
    "output_tokens": 30,
    "server_tool_use": {"web_search_requests": 2},
}
CLAUDE_USD = (10 * 4 + 200 * 0.2 + 50 * 5 + 30 * 20) / 1e6 + 0.02
TOLD = {"prompt_tokens": 260, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 200}}


def entry(**fields: Any) -> Entry:
    known: dict[str, Any] = {
        "id": "x",
        "file": Path(),
        "line": 1,
        "started": "",
        "request": CHAT,
        "turn": None,
        "events": (),
        "chunks": (),
        "status": 200,
        "headers": {},
        "message": None,
        "usage": None,
        "cost_usd": None,
        "process": None,
        "error": None,
        "how": "done",
        "ms": 1.0,
        "left_out": (),
    }
    return Entry(**known | fields)


def events(*, of: int = 0, whole: bool = True, model: str = "claude-opus-5-5") -> tuple[Event, ...]:
    prompt = {**CLAUDE, "output_tokens": 1}
    start = Event(1.0, {"type": "message_start", "message": {"model": model, "usage": prompt}}, of)
    end = Event(2.0, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": CLAUDE}, of)
    return (start, end) if whole else (start,)


def test_claudes_counts_are_taken_whatever_the_app_was_told() -> None:
    used = Usage(260, 200, 50, 30, 2, CLAUDE_USD, "claude-opus-5-5")

    assert entry_usage(entry(events=events())) == used
    assert entry_usage(entry(events=events(), usage={"prompt_tokens": 1, "completion_tokens": 1})) == used


def test_a_stream_that_broke_off_used_its_prompt_and_what_was_told_of_the_answer() -> None:
    used = entry_usage(entry(events=events(whole=False), how="cut_by_app"))

    assert used is not None and (used.input, used.output) == (260, 1)


def test_the_turns_of_a_request_are_added_up() -> None:
    used = entry_usage(entry(events=(*events(of=0), *events(of=1))))

    assert used is not None and (used.input, used.output, used.web_searches) == (520, 60, 4)
    assert used.cost_usd == pytest.approx(2 * CLAUDE_USD)


def test_counts_that_were_kept_by_themselves_come_before_those_of_the_events() -> None:
    kept = (MessageUsage("claude-opus-5-5", {"input_tokens": 7}),)

    used = entry_usage(entry(events=events(), claude_usage=kept, cost_usd=0.5))

    assert used == Usage(7, 0, 0, 0, 0, 0.5, "claude-opus-5-5")


def test_the_figure_of_an_older_cassette_is_computed_anew() -> None:
    used = entry_usage(entry(events=events(), cost_usd=9.0))

    assert used is not None and used.cost_usd == pytest.approx(CLAUDE_USD)


def test_without_counts_of_claudes_those_of_the_app_are_an_estimate_by_the_model_asked_for() -> None:
    used = entry_usage(entry(usage=TOLD, cost_usd=9.0, headers={"x-understudy-model": "opus"}))

    assert used == Usage(260, 200, 0, 30, 0, (60 * 4 + 200 * 0.2 + 30 * 20) / 1e6, "opus", True)
    assert used == entry_usage(entry(usage=TOLD, turn={"model": "opus"}))


def test_tokens_of_somebody_elses_answer_have_no_price() -> None:
    used = entry_usage(entry(usage={"input_tokens": 4, "output_tokens": 2}))

    assert used == Usage(4, 0, 0, 2, 0, None, None, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
    ],
)
def test_an_answer_that_is_told_again_uses_nothing(method: str, path: str) -> None:
    again = entry(request=Request(method, path, {}, None, b""), usage=TOLD)

    assert entry_usage(again) is None


def test_without_usage_there_is_no_figure() -> None:
    assert entry_usage(entry(status=503, how="failed")) is None
    assert summary_usage(Summary("x", 0, 0)) is None


def test_a_model_of_unknown_price_has_tokens_and_no_dollars() -> None:
    used = entry_usage(entry(events=events(model="claude-opus-9")))

    assert used is not None and used.cost_usd is None and used.input == 260


def test_a_summary_tells_the_same() -> None:
    kept = [MessageUsage("claude-opus-5-5", CLAUDE)]
    row = Summary("x", 0, 0, method="POST", path="/v1/responses", claude_usage=kept)
    told = Summary("x", 0, 0, method="POST", path="/v1/responses", usage=TOLD, claude_model="opus")

    assert summary_usage(row) == entry_usage(entry(events=events()))
    assert summary_usage(told) == entry_usage(entry(usage=TOLD, turn={"model": "opus"}))


def test_a_sum_says_how_many_have_no_price() -> None:
    one, unpriced = Usage(10, 4, 3, 2, 1, 0.5, "a"), Usage(1, 0, 0, 1, 0, None, "b")

    assert total([one, one, None, unpriced]) == Total(21, 8, 6, 5, 2, 1.0, 1)
    assert total([one, unpriced]).known_usd == 0.5
    assert total([unpriced]).known_usd is None
    assert total([]).known_usd == 0
