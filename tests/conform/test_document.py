"""Holding JSON to the facts of OpenAI's document."""

from typing import Any

import pytest

from conform.document import EXTRA, KIND, MISSING, VALUE, document

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None, "logprobs": None}],
    "usage": None,
}
ERROR = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}


def differences(root: str, value: Any) -> list[tuple[str, str, str]]:
    return [(one.how, one.place, one.key) for one in document().walk(root, value).differences]


def test_what_the_document_allows_does_not_differ() -> None:
    assert differences("CreateChatCompletionStreamResponse", CHUNK) == []
    assert differences("CreateChatCompletionStreamResponse", CHUNK | {"usage": USAGE}) == []
    assert differences("ErrorResponse", ERROR) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        pytest.param({"id": 7}, (KIND, "$.id", "id"), id="another type"),
        pytest.param({"created": True}, (KIND, "$.created", "created"), id="a boolean is no integer"),
        pytest.param({"created": 1.5}, (KIND, "$.created", "created"), id="a fraction is no integer"),
        pytest.param({"id": None}, (KIND, "$.id", "id"), id="null"),
        pytest.param({"object": "chunk"}, (VALUE, "$.object", "object"), id="another value"),
        pytest.param({"choices": [{}]}, (MISSING, "$.choices[0]", "delta"), id="a missing key"),
        pytest.param({"choices": {}}, (KIND, "$.choices", "choices"), id="no list"),
        pytest.param({"provider": 1}, (EXTRA, "$.provider", "provider"), id="a key more"),
        pytest.param({"usage": {}}, (MISSING, "$.usage", "total_tokens"), id="within one of several types"),
    ],
)
def test_what_differs_is_named_with_its_place(change: dict[str, Any], difference: tuple[str, str, str]) -> None:
    assert difference in differences("CreateChatCompletionStreamResponse", CHUNK | change)


def test_an_object_is_held_to_the_alternative_that_its_type_names() -> None:
    event = {"type": "response.output_text.delta", "delta": 7}

    walk = document().walk("ResponseStreamEvent", event)

    assert [shape for _, shape, _ in walk.objects] == ["ResponseTextDeltaEvent"]
    assert {one.key for one in walk.differences} == {
        *("delta", "item_id", "output_index", "content_index", "sequence_number", "logprobs")
    }


def test_a_type_that_the_document_does_not_have_is_one_difference() -> None:
    (difference,) = document().walk("ResponseStreamEvent", {"type": "response.done"}).differences

    assert (difference.how, difference.came) == (VALUE, {"type": "response.done"})
    assert "response.completed" in difference.wanted


@pytest.mark.parametrize("value", [None, 7, "text", [], [[]]])
def test_what_is_no_object_differs_and_raises_nothing(value: Any) -> None:
    assert [how for how, _, _ in differences("Response", value)] == [KIND]
