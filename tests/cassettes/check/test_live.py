import dataclasses
from pathlib import Path

import pytest

from cassettes.check.live import request_of, shape
from cassettes.format import Entry, Request
from cassettes.read import read

FIXTURE = Path(__file__).parents[3] / "fixtures" / "exchanges" / "chat_whole.jsonl"


@pytest.fixture
def entry() -> Entry:
    (found,) = read(FIXTURE)
    assert isinstance(found, Entry)
    return found


def test_a_request_is_sent_with_changes_and_without_what_is_of_its_old_connection(entry: Entry) -> None:
    headers, value, body = request_of(entry, {"model": "gpt-4o-mini", "temperature": 0.5})
    assert value == {**entry.request.json, "model": "gpt-4o-mini", "temperature": 0.5}
    assert body == b""
    assert not {"host", "content-length", "accept-encoding"} & headers.keys()
    assert headers["content-type"] == "application/json"


def test_a_body_that_is_no_object_is_sent_as_it_was_and_cannot_be_changed(entry: Entry) -> None:
    other = dataclasses.replace(entry, request=Request("POST", "/v1/files", {}, None, b"--bytes"))
    assert request_of(other, {})[1:] == (None, b"--bytes")
    with pytest.raises(ValueError, match="it cannot be changed"):
        request_of(other, {"model": "x"})


def test_answers_of_one_shape_say_different_things() -> None:
    one = {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "a"}}],
        "usage": {"n": 1},
    }
    two = {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "b"}}],
        "usage": {"n": 2.5},
    }
    assert shape(one) == shape(two)


@pytest.mark.parametrize(
    "other",
    [
        {"object": "chat.completion", "choices": [{"finish_reason": "length"}]},
        {"object": "chat.completion", "choices": [{"finish_reason": None}]},
        {"object": "chat.completion", "choices": []},
        {"object": "error"},
        None,
    ],
)
def test_another_kind_or_another_key_is_another_shape(other: object) -> None:
    assert shape({"object": "chat.completion", "choices": [{"finish_reason": "stop"}]}) != shape(other)


def test_a_list_has_the_shapes_of_its_items_however_many_there_are() -> None:
    assert shape([1, 2, 3]) == shape([4]) != shape(["a"])
    assert shape([1, "a"]) == ["<number>", "<text>"]
