import json
from typing import Any

import pytest

from cassettes.assemble import assemble, events_of, is_complete
from cassettes.openai_bodies import error_in, usage_in

STREAM = "text/event-stream; charset=utf-8"


def sse(*values: object) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)


def chunk(delta: dict[str, object], finish: str | None = None, index: int = 0) -> dict[str, object]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def test_a_chat_stream_becomes_the_completion_that_it_is_the_stream_of() -> None:
    body = sse(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Grüße, "}),
        chunk({"content": "Welt"}),
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chunk({}, "tool_calls"),
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}},
    )

    whole = assemble(STREAM, body + b"data: [DONE]\n\n")

    assert whole["object"] == "chat.completion"
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Grüße, Welt",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    assert usage_in(whole) == {"total_tokens": 3}
    assert list(whole)[-1] == "usage"


def test_choices_that_interleave_are_kept_apart() -> None:
    body = sse(chunk({"content": "a"}, index=1), chunk({"content": "b"}), chunk({"content": "c"}, index=1))
    assert [choice["message"]["content"] for choice in assemble(STREAM, body)["choices"]] == ["b", "ac"]


def test_a_response_is_what_its_stream_told_last() -> None:
    body = sse(
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}},
    )
    assert assemble(STREAM, body) == {"id": "resp_1", "status": "completed"}


def test_a_legacy_completion_is_put_together_of_its_texts() -> None:
    one = {"object": "text_completion", "choices": [{"index": 0, "text": "a", "finish_reason": None}]}
    two = {"object": "text_completion", "choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]}
    assert assemble(STREAM, sse(one, two))["choices"] == [{"index": 0, "text": "ab", "finish_reason": "stop"}]


def test_an_error_in_band_stands_beside_what_came_before() -> None:
    whole = assemble(STREAM, sse(chunk({"content": "a"}), {"error": {"message": "no"}}))
    assert whole["choices"][0]["message"]["content"] == "a"
    assert error_in(whole) == {"message": "no"}


def test_an_answer_that_is_no_stream_is_its_json() -> None:
    assert assemble("application/json", b'{"a": 1}') == {"a": 1}
    assert assemble("text/html", b"<html>") is None
    assert assemble(STREAM, b"") is None


@pytest.mark.parametrize(
    ("body", "complete"),
    [
        (sse(chunk({"content": "a"})) + b"data: [DONE]\n\n", True),
        (b"data: [DONE]", True),
        (b'event: response.completed\ndata: {"type": "response.completed"}\n\n', True),
        (sse(chunk({"content": "[DONE]"})), False),
        (sse(chunk({"content": "a"})), False),
        (b"", False),
    ],
)
def test_a_stream_is_complete_once_its_end_was_told(body: bytes, complete: bool) -> None:
    assert is_complete(body) is complete


def test_events_are_split_as_the_standard_says() -> None:
    body = b"\xef\xbb\xbf: a comment\r\ndata: 1\r\ndata:2\r\n\r\nevent: x\rdata: 3\r\rid: 4\n\ndata: 5"
    assert list(events_of(body)) == [("", "1\n2"), ("x", "3"), ("", "5")]


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"choices": "x"},
        {"choices": [None, {"index": "a", "delta": 3}]},
        {"choices": [{"delta": {"tool_calls": [3, {"index": 99, "function": 1}, {"function": {"arguments": 2}}]}}]},
        {"choices": [{"delta": {"content": ["a"]}}, {"delta": {"content": "b"}}]},
        {"type": 3},
        {"response": []},
    ],
)
def test_an_invalid_chunk_is_ignored(value: object) -> None:
    found: Any = assemble(STREAM, sse(value, chunk({"content": "a"}), value))

    # Of a list that stands in the place of a text nothing is kept, of a text all.
    assert found["choices"][0]["message"]["content"] in ("a", "b")
