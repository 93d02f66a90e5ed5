"""Claude's events come in their order, whichever dialect the answer is for."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.translate.responses.test_stream import machine
from translate.chat.completion import fold as fold_chat
from translate.chat.stream import ChatCompletionStream
from translate.claude_stream import ClaudeProtocolError, ClaudeStream, State, explanation
from translate.claude_wire import MessageDelta, Stop
from translate.responses.fold import fold as fold_response
from translate.responses.stream import ResponseStream

type Made = ChatCompletionStream | ResponseStream
type Make = Callable[[], Made]

START = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}


def chat() -> ChatCompletionStream:
    return ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o")


both = pytest.mark.parametrize("make", [chat, machine])


def fed(make: Make, *events: dict[str, Any]) -> Made:
    stream = make()
    for event in events:
        stream.feed(event)
    return stream


@both
def test_a_whole_answer_is_complete(make: Make) -> None:
    stream = fed(make, START, {"type": "ping"}, BLOCK, STOP, {"type": "not_known"}, END)
    stream.feed_eof()

    assert isinstance(stream, ClaudeStream)
    assert stream.complete and stream.state is State.FINISHED
    assert (stream.claude_model, stream.stop_reason, stream.unknown_events) == ("claude-x", "end_turn", 1)


@both
@pytest.mark.parametrize("events", [[BLOCK], [START, START], [START, BLOCK, BLOCK], [START, STOP], [END]])
def test_an_event_out_of_order_is_an_error(make: Make, events: list[dict[str, Any]]) -> None:
    with pytest.raises(ClaudeProtocolError, match="while"):
        fed(make, *events)


@both
@pytest.mark.parametrize(
    "event",
    [{"type": "message_start"}, {**END, "delta": {"stop_reason": None}}],
)
def test_an_event_without_what_its_type_needs_is_an_error(make: Make, event: dict[str, Any]) -> None:
    events = [event] if event["type"] == "message_start" else [START, event]

    with pytest.raises(ClaudeProtocolError, match="message_"):
        fed(make, *events)


@both
@pytest.mark.parametrize("events", [[], [START], [START, BLOCK]])
def test_an_answer_without_a_stop_reason_is_not_complete(make: Make, events: list[dict[str, Any]]) -> None:
    with pytest.raises(ClaudeProtocolError, match="the events ended"):
        fed(make, *events).feed_eof()


@pytest.mark.parametrize(
    ("details", "text"), [(None, ""), ({}, ""), ({"explanation": 1}, ""), ({"explanation": "No."}, "No.")]
)
def test_an_explanation_is_text_or_nothing(details: dict[str, Any] | None, text: str) -> None:
    assert explanation(MessageDelta(Stop("refusal", stop_details=details))) == text


@both
@pytest.mark.parametrize(
    ("pieces", "arguments"), [([], '{"city":"Paris","n":3}'), (['{"city":', '"Rome"}'], '{"city":"Rome"}')]
)
def test_a_calls_input_in_the_start_of_its_block_is_its_input_unless_deltas_follow(
    make: Make, pieces: list[str], arguments: str
) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris", "n": 3}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in pieces
    ]
    events: list[dict[str, Any]] = [START, {**BLOCK, "content_block": call}, *deltas, STOP, END]
    stream = make()
    told: list[Any] = [one for event in events for one in stream.feed(event)]

    if isinstance(stream, ChatCompletionStream):
        calls = fold_chat(told, usage=stream.usage).choices[0].message.tool_calls
        assert calls and calls[0].function.arguments == arguments
    else:
        assert msgspec.to_builtins(fold_response(told).output[0])["arguments"] == arguments
