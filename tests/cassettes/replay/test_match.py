"""Which recorded entry answers a request."""

import json
from pathlib import Path
from typing import Any

import pytest

from cassettes.format import Entry, Request
from cassettes.replay.match import Matcher, Miss, Rules

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def ask(*texts: str, system: str = "Be brief.", **more: Any) -> dict[str, Any]:
    turns = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    return {"model": "gpt-4o", "messages": [{"role": "system", "content": system}, *turns], **more}


def entry(id: str, body: Any, path: str = "/v1/chat/completions") -> Entry:
    raw = body if isinstance(body, bytes) else b""
    request = Request("POST", path, {}, None if isinstance(body, bytes) else body, raw)
    answer = {
        "events": (),
        "chunks": (),
        "status": 200,
        "headers": {},
        "message": None,
        "usage": None,
        "cost_usd": None,
    }
    rest: dict[str, Any] = {**answer, "process": None, "error": None, "how": "done", "ms": 1.0, "left_out": ()}
    return Entry(id=id, file=Path("a.jsonl"), line=2, started="2026-03-04", request=request, turn=None, **rest)


def found(matcher: Matcher, body: Any, path: str = "/v1/chat/completions") -> str | None:
    answer = matcher.find("POST", path, body)
    return answer.id if isinstance(answer, Entry) else None


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        pytest.param(ask("a"), dict(reversed(ask("a").items())), id="keys in another order"),
        pytest.param(ask("two  words\n"), ask("two words"), id="white space"),
        pytest.param(
            ask("run 123e4567-e89b-12d3-a456-426614174000"),
            ask("run 00000000-e89b-12d3-a456-426614174fff"),
            id="a UUID",
        ),
        pytest.param(ask("it is 2026-01-02T03:04:05Z"), ask("it is 2026-09-08 07:06"), id="a time"),
        pytest.param(ask("at 1767225600"), ask("at 1767225601.5"), id="Unix time"),
        pytest.param(ask("key redacted:key-1"), ask("key redacted:key-9"), id="pseudonyms"),
        pytest.param(ask("a", user="ann"), ask("a", metadata={"run": "7"}), id="who asks"),
        pytest.param(ask("a", temperature=1), ask("a", temperature=1.0), id="the same number"),
        pytest.param(
            ask("a", x=[{"id": "call_abcdefgh1", "arguments": '{"a": 1, "b": 2}'}]),
            ask("a", x=[{"id": "call_zyxwvuts9", "arguments": '{"b":2,"a":1}'}]),
            id="a call's id, and the order of its arguments",
        ),
        pytest.param(b"plain  words", b"plain words", id="text"),
    ],
)
def test_values_that_differ_between_runs_are_ignored(recorded: Any, now: Any) -> None:
    assert found(Matcher([entry("e1", recorded)]), now) == "e1"


@pytest.mark.parametrize(
    "now",
    [
        ask("b"),
        ask("a", "b"),
        ask("a", temperature=0.5),
        ask("a", tools=[TOOL]),
        ask("a", system="Be long."),
        ask("a ."),
        b"a",
    ],
)
def test_a_difference_that_changes_the_answer_is_a_miss(now: Any) -> None:
    assert found(Matcher([entry("e1", ask("a"))]), now) is None


def test_method_path_and_query_matter_but_not_the_querys_order() -> None:
    matcher = Matcher([entry("e1", {}, "/v1/x?a=1&b=2")])

    assert found(matcher, {}, "/v1/x?b=2&a=1") == "e1"
    assert found(matcher, {}, "/v1/x?a=1") is None and found(matcher, {}, "/v1/y?a=1&b=2") is None
    assert isinstance(matcher.find("GET", "/v1/x?a=1&b=2", {}), Miss)


def test_the_same_request_is_answered_in_the_order_of_recording_and_then_by_the_last() -> None:
    matcher = Matcher([entry("e1", ask("a")), entry("e2", ask("b")), entry("e3", ask("a"))])

    assert [found(matcher, ask("a")) for _ in range(4)] == ["e1", "e3", "e3", "e3"]


def test_a_continuation_gets_the_answer_of_its_own_response() -> None:
    def after(response: str, key: int = 1) -> dict[str, Any]:
        return {"input": f"Who am I? redacted:key-{key}", "previous_response_id": response}

    recorded = [entry("ann's", after("resp_aaaaaaaa1")), entry("bob's", after("resp_bbbbbbbb2"))]
    matcher, once = Matcher(recorded), Matcher(recorded, Rules(reuse=False))

    assert [found(matcher, after(f"resp_{one}", 2)) for one in ("bbbbbbbb2", "bbbbbbbb2", "aaaaaaaa1")] == [
        "bob's",
        "bob's",
        "ann's",
    ]
    assert [found(matcher, after(f"resp_{one}")) for one in ("cccccccc3", "bbbbbbbb2")] == ["ann's", "bob's"]
    assert [found(once, after("resp_bbbbbbbb2")) for _ in range(3)] == ["bob's", "ann's", None]


def test_once_means_once() -> None:
    matcher = Matcher([entry("e1", ask("a"))], Rules(reuse=False))

    assert found(matcher, ask("a")) == "e1"
    again = matcher.find("POST", "/v1/chat/completions", ask("a"))
    assert isinstance(again, Miss) and again.diff == "entry e1 is the same, and has answered already"


def test_own_rules_take_the_place_of_the_defaults() -> None:
    matcher = Matcher([entry("e1", ask("ticket T-1", user="ann", seed=1))], Rules(("$.seed",), {r"T-\d+": "<ticket>"}))

    assert found(matcher, ask("ticket T-2", user="ann", seed=2)) == "e1"
    assert found(matcher, ask("ticket T-2", user="bob", seed=2)) is None


def test_a_miss_shows_the_nearest_and_how_it_differs() -> None:
    recorded = ask("Where is Rome?", "In Italy.", "And Oslo?", temperature=0.2, tools=[TOOL])
    matcher = Matcher([entry("e1", ask("something else")), entry("e2", recorded)])
    other = {"type": "function", "function": {"name": "search"}}
    now = ask(
        "Hello!", "Hi.", "Where is Rome?", "In Italy.", "And Bergen?", system="Be long.", temperature=0.7, tools=[other]
    )

    miss = matcher.find("POST", "/v1/chat/completions", now)

    assert isinstance(miss, Miss) and miss.nearest is not None and miss.nearest.id == "e2"
    assert miss.diff.split("\n") == [
        "no recorded request is like POST /v1/chat/completions; the nearest is e2 of 2026-03-04",
        "system prompt: recorded Be brief., now Be long.",
        "message 1 (user): not in the recording:",
        "  + {",
        '  +  "content": "Hello!",',
        '  +  "role": "user"',
        "  + }",
        "message 2 (assistant): not in the recording:",
        "  + {",
        '  +  "content": "Hi.",',
        '  +  "role": "assistant"',
        "  + }",
        "message 5 (user):",
        "    {",
        '  -  "content": "And Oslo?",',
        '  +  "content": "And Bergen?",',
        '     "role": "user"',
        "tool search: not in the recording:",
        "  + {",
        '  +  "function": {',
        '  +   "name": "search"',
        "  +  },",
        '  +  "type": "function"',
        "  + }",
        "tool weather: only in the recording:",
        "  - {",
        '  -  "function": {',
        '  -   "name": "weather",',
        '  -   "parameters": {',
        '  -    "type": "object"',
        "  -   }",
        "  -  },",
        '  -  "type": "function"',
        "  - }",
        "temperature: recorded 0.2, now 0.7",
    ]


def test_a_miss_of_the_responses_dialect_is_aligned_too() -> None:
    recorded = {"model": "gpt-4o", "instructions": "Be brief.", "input": "Hello"}
    matcher = Matcher([entry("e1", recorded, "/v1/responses")])

    miss = matcher.find("POST", "/v1/responses", {**recorded, "instructions": "Be long."})

    assert isinstance(miss, Miss)
    assert miss.diff.split("\n")[1:] == ["system prompt: recorded Be brief., now Be long."]


def test_a_miss_on_another_path_says_so_and_an_empty_cassette_too() -> None:
    elsewhere = Matcher([entry("e1", ask("a"))]).find("POST", "/v1/models", ask("a"))
    empty = Matcher([]).find("GET", "/", b"")

    assert isinstance(elsewhere, Miss) and isinstance(empty, Miss)
    assert elsewhere.diff.split("\n")[1:] == ["request: recorded POST /v1/chat/completions, now POST /v1/models"]
    assert empty == Miss(None, "nothing is recorded, so nothing answers GET /")


def test_a_long_difference_is_cut() -> None:
    matcher = Matcher([entry("e1", ask("a"))])

    miss = matcher.find("POST", "/v1/chat/completions", ask(*(f"{n} words" for n in range(500))))

    assert isinstance(miss, Miss) and len(miss.diff.split("\n")) == 61 and miss.diff.endswith("more lines")


def test_odd_bodies_have_a_difference_as_well() -> None:
    odd: list[Any] = [
        {"messages": [1, None, "x"], "tools": ["y", {"function": 3}]},
        [1],
        "text",
        None,
        {"input": {"a": 1}},
    ]
    for recorded in odd:
        for now in odd:
            answer = Matcher([entry("e1", recorded)]).find("POST", "/v1/chat/completions", now)
            assert isinstance(answer, Entry) is (json.dumps(recorded) == json.dumps(now)) or recorded is None
