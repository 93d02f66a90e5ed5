"""Events are encoded once, and become an event stream only where they are sent."""

import json

import pytest

from translate import sse
from translate.models import model_object
from translate.responses.wire import OutputTextDelta

DELTA = OutputTextDelta("msg_1", 0, 0, "a\nb", 4)


def test_an_event_is_one_line_of_json_and_an_empty_line() -> None:
    assert sse.stream_bytes([sse.event({"a": "x\ny"})]) == b'data: {"a":"x\\ny"}\n\n'


def test_structs_are_encoded() -> None:
    assert sse.event(model_object("claude-x")).data.startswith(b'{"id":"claude-x"')


def test_several_events_are_one_piece_of_a_stream() -> None:
    assert sse.stream_bytes([sse.EncodedEvent(b"{}"), sse.DONE]) == b"data: {}\n\ndata: [DONE]\n\n"


def test_an_event_of_a_response_has_its_type_as_its_name() -> None:
    lines = sse.stream_bytes([sse.event(DELTA)]).decode().split("\n")

    assert lines[0] == "event: response.output_text.delta"
    assert lines[2:] == ["", ""]
    assert json.loads(lines[1].removeprefix("data: ")) == {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "a\nb",
        "logprobs": [],
        "sequence_number": 4,
    }


def test_a_stored_event_is_sent_as_it_was() -> None:
    encoded = sse.event(DELTA)

    assert sse.stored_event(encoded.data) == encoded


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
def test_a_recorded_stream_is_read_wherever_its_bytes_are_cut(cut: int) -> None:
    events = [sse.event(DELTA), sse.event({"a": 1}), sse.DONE]
    stream = sse.KEEP_ALIVE + sse.stream_bytes(events) + b"data: not complete"
    reader = sse.Reader()

    read = [event for start in range(0, len(stream), cut) for event in reader.feed(stream[start : start + cut])]

    assert read == [sse.EncodedEvent(b""), *events]
