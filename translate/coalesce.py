"""Joins adjacent chunks that are pieces of one text.

If Claude writes faster than an app reads, many small chunks make the app even slower. Only pieces that the app joins
itself are joined: of the text, of the reasoning, and of the arguments of one call. Order and content stay the same.
Ids, roles, finish reasons and usage are never changed.
"""

from collections.abc import Iterable

from msgspec import UNSET
from msgspec.structs import replace

from translate.chat.wire import ChatCompletionChunk, ChunkChoice, ChunkDelta, FunctionDelta, ToolCallDelta


def coalesce(chunks: Iterable[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
    """Return the chunks with adjacent pieces of one text joined."""
    result: list[ChatCompletionChunk] = []
    pieces: list[ChunkDelta] = []

    def close() -> None:
        if len(pieces) > 1:
            choice = replace(result[-1].choices[0], delta=_join(pieces))
            result[-1] = replace(result[-1], choices=[choice])

    for chunk in chunks:
        delta = _piece(chunk)
        if delta is not None and pieces and _same(result[-1].choices[0], chunk.choices[0]):
            pieces.append(delta)
            continue
        close()
        pieces = [delta] if delta is not None else []
        result.append(chunk)
    close()
    return result


def _piece(chunk: ChatCompletionChunk) -> ChunkDelta | None:
    """Return a chunk's delta if it only has a piece of one text."""
    match chunk.choices:
        case [ChunkChoice(finish_reason=None, delta=delta)] if not chunk.usage and _text(delta) is not None:
            return delta
        case _:
            return None


def _text(delta: ChunkDelta) -> tuple[str, str] | None:
    """Return (name of the text, piece); None if the delta is not exactly one piece."""
    match delta.tool_calls:
        case [ToolCallDelta(index=index, function=FunctionDelta(arguments=str(piece)) as function) as call]:
            alone = ChunkDelta(tool_calls=[ToolCallDelta(index=index, function=FunctionDelta(arguments=piece))])
            anonymous = call.id is UNSET and function.name is UNSET
            return (f"arguments {index}", piece) if anonymous and delta == alone else None
        case _:
            pass
    if isinstance(delta.content, str) and delta == ChunkDelta(content=delta.content):
        return "content", delta.content
    if isinstance(delta.reasoning_content, str) and delta == ChunkDelta(reasoning_content=delta.reasoning_content):
        return "reasoning", delta.reasoning_content
    return None


def _same(one: ChunkChoice, other: ChunkChoice) -> bool:
    first, second = _text(one.delta), _text(other.delta)
    return one.index == other.index and bool(first and second) and first[0] == second[0]  # type: ignore[index]


def _join(pieces: list[ChunkDelta]) -> ChunkDelta:
    texts = [text for text in map(_text, pieces) if text]
    joined = "".join(piece for _, piece in texts)
    match pieces[0].tool_calls:
        case [call]:
            return ChunkDelta(tool_calls=[replace(call, function=FunctionDelta(arguments=joined))])
        case _:
            kind = texts[0][0]
            return ChunkDelta(content=joined) if kind == "content" else ChunkDelta(reasoning_content=joined)
