import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cassettes.check.retranslate import Retranslator, canonical
from cassettes.format import Chunk, Entry, Event
from cassettes.read import read

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures" / "exchanges").glob("*.jsonl"))


def entry_of(name: str) -> Entry:
    (entry,) = read(next(path for path in FIXTURES if path.stem == name))
    assert isinstance(entry, Entry)
    return entry


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_an_app_gets_today_what_it_got_when_the_fixture_was_recorded(path: Path) -> None:
    (entry,) = read(path)
    assert isinstance(entry, Entry)
    verdict = Retranslator().check(entry)
    assert (verdict.how, verdict.lines) == ("same", ())


@pytest.mark.parametrize("name", ["chat_streamed", "chat_whole", "response_streamed", "response_whole"])
def test_an_answer_that_claude_did_not_give_differs(name: str) -> None:
    entry = entry_of(name)
    text = next(event for event in entry.events if event.value.get("delta", {}).get("type") == "text_delta")
    other = Event(text.at_ms, {**text.value, "delta": {"type": "text_delta", "text": "Something else"}})
    events = tuple(other if event is text else event for event in entry.events)

    verdict = Retranslator().check(dataclasses.replace(entry, events=events))

    assert verdict.how == "differs"
    assert any("Something else" in line and line.startswith("+") for line in verdict.lines)


def test_a_turn_that_was_made_otherwise_differs() -> None:
    entry = entry_of("chat_streamed")
    assert entry.turn is not None
    verdict = Retranslator().check(dataclasses.replace(entry, turn={**entry.turn, "max_tokens": 7}))
    assert verdict.how == "differs"
    assert any('"max_tokens": 7' in line for line in verdict.lines)


def test_events_that_today_are_none_are_a_difference_and_no_failure() -> None:
    entry = entry_of("chat_streamed")
    verdict = Retranslator().check(dataclasses.replace(entry, events=entry.events[:3]))
    assert verdict.how == "differs"
    assert "today's translation fails" in verdict.lines[0]


def test_a_refusal_that_today_is_none_cannot_be_judged_without_claudes_side() -> None:
    entry = entry_of("chat_refused_parameter")
    request = dataclasses.replace(
        entry.request, body=b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}]}'
    )
    assert Retranslator().check(dataclasses.replace(entry, request=request)).how == "skipped"


def test_deltas_that_were_joined_on_the_way_are_no_difference() -> None:
    entry = entry_of("chat_streamed")
    # The recorded chunks hold an event each; here all of the text is in one.
    events = [chunk.data for chunk in entry.chunks]
    first = next(n for n, data in enumerate(events) if b'"content":"Th' in data or b'"content": "Th' in data)
    joined = events[first].replace(b"This", b"This is ")
    assert joined != events[first] and b'" is "' in events[first + 1]
    chunks = tuple(Chunk(float(n), joined if n == first else data) for n, data in enumerate(events) if n != first + 1)
    assert Retranslator().check(dataclasses.replace(entry, chunks=chunks)).how == "same"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"how": "cut_by_app"}, "it ended cut_by_app"),
        ({"events": ()}, "Claude was not asked"),
        ({"left_out": ({"chunks": 3},)}, "left out"),
    ],
)
def test_an_entry_that_cannot_be_checked_is_skipped_with_the_reason(changes: dict[str, Any], why: str) -> None:
    verdict = Retranslator().check(dataclasses.replace(entry_of("chat_streamed"), **changes))
    assert verdict.how == "skipped"
    assert why in verdict.why


def test_other_endpoints_are_skipped() -> None:
    entry = entry_of("chat_whole")
    other = dataclasses.replace(entry, request=dataclasses.replace(entry.request, path="/v1/embeddings"))
    assert Retranslator().check(other).how == "skipped"


def test_a_response_that_goes_on_from_another_needs_that_one_before_it() -> None:
    first = entry_of("response_whole")
    body = b'{"model": "gpt-4o", "input": "And?", "previous_response_id": "%s"}' % first.message["id"].encode()
    second = dataclasses.replace(
        entry_of("response_streamed"), request=dataclasses.replace(first.request, body=body), turn=None
    )
    assert "not in the cassette" in Retranslator().check(second).why
    both = Retranslator()
    both.check(first)
    # Its own answer is another request's, so it differs; but it can be judged now.
    assert both.check(second).how == "differs"


def test_ids_times_and_seals_are_what_they_are_and_not_which() -> None:
    one = [{"id": "chatcmpl-abcdefgh1", "created": 1, "encrypted_content": "x", "a": "see chatcmpl-abcdefgh1"}]
    two = [{"id": "chatcmpl-zzzzzzzz2", "created": 2, "encrypted_content": "y", "a": "see chatcmpl-zzzzzzzz2"}]
    three = [{"id": "chatcmpl-zzzzzzzz2", "created": 2, "encrypted_content": "y", "a": "see chatcmpl-another33"}]
    assert canonical(one) == canonical(two) != canonical(three)


@pytest.mark.parametrize(
    "id", ["ws_b121d8f0d4fa", "ctc_0557b380c8af", "cmp_0123456789ab", "mcp_01234567", "srvtoolu_01Ab2345"]
)
def test_ids_of_every_kind_of_item_are_no_difference(id: str) -> None:
    assert canonical([{"id": id}]) == canonical([{"id": id[:-1] + "x"}]) != [{"id": id}]


def test_an_answer_that_failed_after_claude_was_asked_cannot_be_judged() -> None:
    entry = entry_of("chat_whole")
    error = {"message": "…", "type": "server_error", "code": "overloaded"}
    failed = dataclasses.replace(entry, status=503, error=error, events=entry.events[:3])
    verdict = Retranslator().check(failed)
    assert (verdict.how, verdict.why) == ("skipped", "it failed after Claude was asked: 503 overloaded")


THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "s"}


def going_on_with_sealed_reasoning(turn_thinks: bool, said: str = "Hello.") -> Entry:
    """A response whose input has reasoning that an answer elsewhere had sealed."""
    first = entry_of("response_whole")
    assert first.turn is not None
    user, assistant = [{"type": "text", "text": "Hi"}], [{"type": "text", "text": said}]
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": first.request.json["input"]},
    ]
    turn = {
        **first.turn,
        "messages": [
            {"role": "user", "content": user},
            {"role": "assistant", "content": [THINKING, *assistant] if turn_thinks else assistant},
            *first.turn["messages"],
        ],
    }
    body = json.dumps({**first.request.json, "input": items}).encode()
    request = dataclasses.replace(first.request, json=json.loads(body), body=body)
    return dataclasses.replace(first, request=request, turn=turn)


@pytest.mark.parametrize("turn_thinks", [True, False])
def test_reasoning_whose_seal_nobody_can_open_is_named_and_no_difference(turn_thinks: bool) -> None:
    verdict = Retranslator().check(going_on_with_sealed_reasoning(turn_thinks))
    assert (verdict.how, verdict.lines) == ("same", ())
    assert verdict.why == "1 sealed reasoning could not be opened, and was not compared"


def test_a_difference_beside_encrypted_reasoning_is_reported() -> None:
    verdict = Retranslator().check(going_on_with_sealed_reasoning(True, said="Good day."))
    assert verdict.how == "differs" and any("Good day." in line for line in verdict.lines)
