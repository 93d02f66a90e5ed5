"""Chunks folded into one body."""

import pytest

from translate.chat.completion import fold
from translate.chat.wire import ChatCompletionChunk, ChunkChoice, ChunkDelta, FunctionDelta, ToolCallDelta
from translate.usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

USAGE = CompletionUsage(1, 2, 3, PromptTokensDetails(), CompletionTokensDetails())


def chunk(*choices: ChunkChoice, usage: CompletionUsage | None = None) -> ChatCompletionChunk:
    return ChatCompletionChunk(id="c", created=1, model="m", choices=list(choices), usage=usage)


def test_interleaved_choices_are_put_together_by_index() -> None:
    completion = fold(
        [
            chunk(ChunkChoice(1, ChunkDelta(content="b"))),
            chunk(ChunkChoice(0, ChunkDelta(content="a"))),
            chunk(ChunkChoice(1, ChunkDelta(content="B"), finish_reason="length")),
            chunk(ChunkChoice(0, ChunkDelta(), finish_reason="stop")),
            chunk(usage=USAGE),
        ]
    )

    told = [(choice.index, choice.message.content, choice.finish_reason) for choice in completion.choices]
    assert told == [(0, "a", "stop"), (1, "bB", "length")]
    assert completion.usage == USAGE


def test_a_call_that_is_named_and_never_goes_on_has_no_arguments() -> None:
    named = ToolCallDelta(index=0, id="t", type="function", function=FunctionDelta(name="f"))

    completion = fold(
        [
            chunk(ChunkChoice(0, ChunkDelta(tool_calls=[named]))),
            chunk(ChunkChoice(0, ChunkDelta(), finish_reason="length")),
            chunk(usage=USAGE),
        ]
    )

    calls = completion.choices[0].message.tool_calls
    assert isinstance(calls, list)
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [("t", "f", "")]


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk(ChunkChoice(0, ChunkDelta(content="a"), finish_reason="stop"))],
        [chunk(ChunkChoice(0, ChunkDelta(content="a"))), chunk(usage=USAGE)],
        [chunk(usage=USAGE)],
    ],
    ids=["nothing", "no usage", "no reason", "no choice"],
)
def test_an_incomplete_answer_is_an_error(chunks: list[ChatCompletionChunk]) -> None:
    with pytest.raises(ValueError, match="complete"):
        fold(chunks)
