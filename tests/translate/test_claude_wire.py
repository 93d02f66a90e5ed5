"""Claude's events, typed."""

from typing import Any, get_args

import msgspec
import pytest
from anthropic.types import RawMessageStreamEvent

from translate.claude_wire import EVENTS, ContentBlockStart, MessageStart, Ping, decode_event, join_deltas


def tags(union: Any) -> set[str]:
    """Return the `type` of every member of a vendor's tagged union."""
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0] for member in members}


def test_every_event_of_the_vendors_is_known() -> None:
    assert tags(RawMessageStreamEvent) <= set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_each_name_is_its_types_own_tag(name: str) -> None:
    assert EVENTS[name].__struct_config__.tag == name


@pytest.mark.parametrize("raw", [{"type": "invented_in_2031"}, {}])
def test_an_event_of_no_known_type_is_none(raw: dict[str, Any]) -> None:
    assert decode_event(raw) is None


def test_fields_that_we_do_not_know_are_let_through() -> None:
    raw = {"type": "content_block_start", "index": 3, "new": 1, "content_block": {"type": "new_kind", "more": [1]}}

    event = decode_event(raw)

    assert isinstance(event, ContentBlockStart)
    assert (event.index, event.content_block.type) == (3, "new_kind")


def test_missing_fields_of_an_event_have_defaults() -> None:
    assert decode_event({"type": "ping"}) == Ping()
    event = decode_event({"type": "message_start", "message": {}})
    assert isinstance(event, MessageStart)
    assert (event.message.model, event.message.usage) == ("", {})


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "message_start"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": "0", "delta": {"type": "text_delta"}},
        {"type": "message_delta"},
    ],
    ids=lambda raw: str(raw["type"]),
)
def test_an_event_that_lacks_what_it_must_have_is_invalid(raw: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_event(raw)


def delta(kind: str, field: str, piece: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}}


def test_adjacent_pieces_of_one_text_become_one() -> None:
    events = [
        {"type": "ping"},
        delta("text_delta", "text", "a"),
        delta("text_delta", "text", "b"),
        delta("text_delta", "text", "c"),
        {"type": "ping"},
        delta("text_delta", "text", "d"),
        delta("text_delta", "text", "e", 1),
        delta("input_json_delta", "partial_json", "{", 1),
        delta("input_json_delta", "partial_json", "}", 1),
        delta("signature_delta", "signature", "x", 1),
        delta("signature_delta", "signature", "y", 1),
    ]

    assert list(join_deltas(events)) == [
        {"type": "ping"},
        delta("text_delta", "text", "abc"),
        {"type": "ping"},
        delta("text_delta", "text", "d"),
        delta("text_delta", "text", "e", 1),
        delta("input_json_delta", "partial_json", "{}", 1),
        delta("signature_delta", "signature", "x", 1),
        delta("signature_delta", "signature", "y", 1),
    ]


@pytest.mark.parametrize("event", [{}, {"type": "content_block_delta"}, delta("text_delta", "text", 1)])  # type: ignore[arg-type]
def test_events_that_are_not_text_deltas_are_not_joined(event: dict[str, Any]) -> None:
    assert list(join_deltas([event, event])) == [event, event]
