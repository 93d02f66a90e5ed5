"""The bytes of an event stream."""

from translate import sse
from translate.models import model_object


def test_an_event_is_one_line_of_json_and_an_empty_line() -> None:
    assert sse.event({"a": "x\ny"}) == b'data: {"a":"x\\ny"}\n\n'


def test_structs_are_encoded() -> None:
    assert sse.event(model_object("claude-x")).startswith(b'data: {"id":"claude-x"')


def test_what_is_encoded_already_is_only_wrapped() -> None:
    assert sse.raw_event(b"{}") == b"data: {}\n\n"
    assert sse.DONE == b"data: [DONE]\n\n"
