"""Joining pieces changes how many chunks there are and nothing else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.chat.completion import fold
from translate.chat.wire import ChatCompletionChunk, ChunkChoice, ChunkDelta, FunctionDelta, ToolCallDelta
from translate.coalesce import coalesce
from translate.usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails


def chunk(*choices: ChunkChoice, usage: CompletionUsage | None = None) -> ChatCompletionChunk:
    return ChatCompletionChunk(id="i", created=1, model="m", choices=list(choices), usage=usage)


def text(words: str, index: int = 0) -> ChatCompletionChunk:
    return chunk(ChunkChoice(index, ChunkDelta(content=words)))


def thought(words: str) -> ChatCompletionChunk:
    return chunk(ChunkChoice(0, ChunkDelta(reasoning_content=words)))


def arguments(piece: str, call: int = 0) -> ChatCompletionChunk:
    return chunk(
        ChunkChoice(0, ChunkDelta(tool_calls=[ToolCallDelta(index=call, function=FunctionDelta(arguments=piece))]))
    )


def named(name: str, call: int = 0) -> ChatCompletionChunk:
    function = FunctionDelta(name=name, arguments="")
    return chunk(ChunkChoice(0, ChunkDelta(tool_calls=[ToolCallDelta(index=call, id=f"id{call}", function=function)])))


ROLE = chunk(ChunkChoice(0, ChunkDelta(role="assistant", content="")))
STOP = chunk(ChunkChoice(0, ChunkDelta(), finish_reason="stop"))
USAGE = chunk(usage=CompletionUsage(1, 2, 3, PromptTokensDetails(), CompletionTokensDetails()))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([text("a"), text("b"), text("c")], [text("abc")], id="text"),
        pytest.param([thought("a"), thought("b"), text("c")], [thought("ab"), text("c")], id="reasoning, then text"),
        pytest.param([arguments("{"), arguments("}")], [arguments("{}")], id="one call's arguments"),
        pytest.param([arguments("a"), arguments("b", 1)], [arguments("a"), arguments("b", 1)], id="two calls'"),
        pytest.param([named("f"), arguments("a")], [named("f"), arguments("a")], id="not a name"),
        pytest.param([ROLE, text("a"), STOP, USAGE], [ROLE, text("a"), STOP, USAGE], id="not role, finish or usage"),
        pytest.param([text("a"), text("b", 1), text("c")], [text("a"), text("b", 1), text("c")], id="not two choices"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_adjacent_chunks_are_joined(chunks: list[ChatCompletionChunk], expected: list[ChatCompletionChunk]) -> None:
    assert coalesce(chunks) == expected


PIECES = st.one_of(
    st.builds(text, st.text(max_size=3)),
    st.builds(thought, st.text(max_size=3)),
    st.builds(arguments, st.text(max_size=3), st.integers(0, 2)),
)


@given(st.lists(PIECES), st.lists(st.integers(0, 40)))
def test_the_answer_is_the_same_however_it_was_joined(pieces: list[ChatCompletionChunk], cuts: list[int]) -> None:
    chunks = [ROLE, *(named("f", call) for call in range(3)), *pieces, STOP, USAGE]
    bounds = sorted({0, len(chunks), *(cut for cut in cuts if cut < len(chunks))})

    joined = [c for start, end in itertools.pairwise(bounds) for c in coalesce(chunks[start:end])]

    assert fold(joined) == fold(chunks)
    assert coalesce(coalesce(chunks)) == coalesce(chunks)
