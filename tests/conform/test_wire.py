"""What is learned of recordings, and asked of answers."""

import json
from typing import Any

from conform.document import EXTRA, KIND, MISSING, Difference, document
from conform.exchange import Exchange
from conform.wire import ENOUGH, Wire

SHAPE = "CreateChatCompletionResponse"
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-secret",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [],
    "service_tier": "default",
}


def recording(date: str | None, **more: Any) -> Exchange:
    headers = {"content-type": "application/json"}
    return Exchange(name="x", dialect="chat", headers=headers, text=json.dumps(ANSWER | more), date=date)


def learned(*exchanges: Exchange) -> Wire:
    wire = Wire()
    for exchange in exchanges:
        wire.learn(exchange, document())
    return wire


def asked_for(wire: Wire, date: str | None, **value: Any) -> set[str]:
    return {problem.place for problem in wire.missing(recording(date), "$", SHAPE, value)}


def test_a_key_that_all_recordings_since_a_month_have_is_asked_for_from_then_on() -> None:
    wire = learned(recording("2025-01-31"), *[recording("2025-02-01", tier=1) for _ in range(ENOUGH)])

    assert wire.always(SHAPE, "tier") == ("2025-02", ENOUGH)
    assert "$.tier" in asked_for(wire, None)
    assert "$.tier" in asked_for(wire, "2025-02-01")
    assert "$.tier" not in asked_for(wire, "2025-01-31")
    assert "$.tier" not in asked_for(wire, None, tier=2)


def test_a_key_that_few_recordings_have_is_not_asked_for() -> None:
    wire = learned(*[recording("2025-02-01", tier=1) for _ in range(ENOUGH - 1)])

    assert asked_for(wire, None) == set()


def test_a_key_that_the_last_recordings_lack_is_not_asked_for() -> None:
    wire = learned(*[recording("2025-02-01", tier=1) for _ in range(ENOUGH)], recording("2025-03-01"))

    assert wire.always(SHAPE, "tier") == ("", 0)
    assert "$.tier" not in asked_for(wire, None)


def test_a_recording_counts_once_however_many_events_it_has() -> None:
    chunk = {**ANSWER, "object": "chat.completion.chunk"}
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for _ in range(100))
    headers = {"content-type": "text/event-stream"}

    wire = learned(Exchange(name="x", dialect="chat", headers=headers, text=text, date="2025-02-01"))

    assert wire.always("CreateChatCompletionStreamResponse, without usage", "id") == ("2025-02", 1)


def test_the_table_has_no_values() -> None:
    wire = learned(recording("2025-02-01"))

    assert "secret" not in json.dumps(wire.table)
    assert wire.table["situations"][SHAPE]["keys"]["id"] == {"in": {"2025-02": 1}, "kinds": ["string"]}
    assert wire.title == "1 recordings from 2025-02 to 2025-02"


def test_a_table_is_added_to_without_being_changed() -> None:
    first = learned(recording("2025-02-01"))
    second = Wire(first.table)
    second.learn(recording("2025-02-02"), document())

    assert first.always(SHAPE, "id") == ("2025-02", 1)
    assert second.always(SHAPE, "id") == ("2025-02", 2)


def test_an_answer_without_a_date_teaches_nothing() -> None:
    assert learned(recording(None)).table == Wire().table


def test_what_recordings_show_overrules_the_document() -> None:
    wire = learned(*[recording("2025-02-01", user=None) for _ in range(ENOUGH)])
    null = Difference(KIND, "$.user", SHAPE, "user", None, "string")
    number = Difference(KIND, "$.user", SHAPE, "user", 7, "string")
    absent = Difference(MISSING, "$", SHAPE, "logprobs", None, "null")
    known = Difference(EXTRA, "$.user", SHAPE, "user", None, "")
    unknown = Difference(EXTRA, "$.provider", SHAPE, "provider", 1, "")

    assert wire.allows(recording(None), null, {})
    assert not wire.allows(recording(None), number, {})
    assert wire.allows(recording(None), absent, ANSWER)
    assert not wire.is_extra(known)
    assert wire.is_extra(unknown)
    assert not Wire().is_extra(unknown)
