"""Padding hides the length of each piece, and is the same each time."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.chat.wire import ChatCompletionChunk, ChunkChoice, ChunkDelta, FunctionDelta, ToolCallDelta
from translate.obfuscation import STEP, padded_chunk, padded_event, padding_for, without_padding
from translate.responses import wire


def chunk(*deltas: ChunkDelta) -> ChatCompletionChunk:
    choices = [ChunkChoice(index, delta) for index, delta in enumerate(deltas)]
    return ChatCompletionChunk(id="c", created=1, model="m", choices=choices)


# The lengths are those of recorded answers of OpenAI's.
@pytest.mark.parametrize(("length", "padding"), [(0, 0), (1, 15), (3, 13), (10, 6), (16, 0), (17, 15), (99, 13)])
def test_a_piece_is_filled_up_as_openai_does_it(length: int, padding: int) -> None:
    assert len(padding_for("x" * length)) == padding


@given(st.text())
def test_each_piece_takes_a_multiple_of_16_bytes(piece: str) -> None:
    assert (len(piece.encode()) + len(padding_for(piece))) % STEP == 0


@pytest.mark.parametrize(
    "delta",
    [
        ChunkDelta(content="Hello"),
        ChunkDelta(refusal="Hello"),
        ChunkDelta(reasoning_content="Hello"),
        ChunkDelta(function_call=FunctionDelta(arguments="Hello")),
        ChunkDelta(tool_calls=[ToolCallDelta(index=0, function=FunctionDelta(arguments="Hello"))]),
    ],
)
def test_a_chunk_is_padded_by_the_text_in_it(delta: ChunkDelta) -> None:
    assert padded_chunk(chunk(delta)).obfuscation == padding_for("Hello")


def test_a_chunk_without_text_has_empty_padding() -> None:
    assert padded_chunk(chunk(ChunkDelta())).obfuscation == padded_chunk(chunk()).obfuscation == ""


DELTAS: list[Any] = [
    wire.OutputTextDelta("i", 0, 0, "Hello", 3),
    wire.RefusalDelta("i", 0, 0, "Hello", 3),
    wire.FunctionCallArgumentsDelta("i", 0, "Hello", 3),
    wire.CustomToolCallInputDelta("i", 0, "Hello", 3),
    wire.McpCallArgumentsDelta("i", 0, "Hello", 3),
    wire.ReasoningSummaryTextDelta("i", 0, 0, "Hello", 3),
]


@pytest.mark.parametrize("event", DELTAS, ids=lambda event: event.__struct_config__.tag)
def test_an_event_with_a_piece_is_padded(event: Any) -> None:
    padded: Any = padded_event(event)

    assert padded.obfuscation == padding_for("Hello")
    assert without_padding(msgspec.json.encode(padded)) == msgspec.json.encode(event)


def test_every_kind_of_event_with_a_piece_is_among_them() -> None:
    kinds = get_args(wire.ResponseEvent.__value__)

    assert {kind for kind in kinds if "delta" in kind.__struct_fields__} == {type(event) for event in DELTAS}


def test_another_event_stays_as_it_is() -> None:
    event = wire.RefusalDone("i", 0, 0, "Hello", 3)

    assert padded_event(event) is event
    assert without_padding(b'{"type":"x"}') == b'{"type":"x"}'
