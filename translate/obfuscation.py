"""Padding that hides how long the pieces of a streamed answer are.

Who reads an encrypted connection sees the size of each event. Pieces of text have about the length of a token, so the
sizes tell much about the text. OpenAI adds a field ``obfuscation`` to each chunk, and to each event that ends in
``.delta``, unless ``stream_options.include_obfuscation`` is false. Its length fills the piece up to a multiple of 16
(recorded answers of OpenAI's, from 2025-10 on).

OpenAI's padding is random. This one depends only on the length of the piece, because only the size can be seen from
outside. So a stream is the same bytes whenever it is made of the same events.

Add it last: pieces that are joined need another padding.
"""

from msgspec import UNSET, json
from msgspec.structs import replace

from translate.chat.wire import ChatCompletionChunk, ChunkDelta
from translate.responses.wire import (
    CustomToolCallInputDelta,
    FunctionCallArgumentsDelta,
    McpCallArgumentsDelta,
    OutputTextDelta,
    ReasoningSummaryTextDelta,
    RefusalDelta,
    ResponseEvent,
)

STEP = 16

_PADDING = "abcdefghijklmnop"


def padding_for(piece: str) -> str:
    """Return the text that fills a piece up to the next multiple of 16 bytes in UTF-8."""
    return _PADDING[: -len(piece.encode("utf-8", "surrogatepass")) % STEP]


def padded_chunk(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return a chunk with its padding."""
    piece = "".join(_text(choice.delta) for choice in chunk.choices)
    return replace(chunk, obfuscation=padding_for(piece))


def padded_event(event: ResponseEvent) -> ResponseEvent:
    """Return an event with its padding; events without a piece as they are."""
    match event:
        case (
            OutputTextDelta()
            | RefusalDelta()
            | FunctionCallArgumentsDelta()
            | CustomToolCallInputDelta()
            | McpCallArgumentsDelta()
            | ReasoningSummaryTextDelta()
        ):
            return replace(event, obfuscation=padding_for(event.delta))
        case _:
            return event


def without_padding(event: bytes) -> bytes:
    """Return the JSON of an event without its padding."""
    fields = json.decode(event)
    if "obfuscation" not in fields:
        return event
    del fields["obfuscation"]
    return json.encode(fields)


def _text(delta: ChunkDelta) -> str:
    """Return the pieces of texts in a delta."""
    pieces = [delta.content, delta.refusal, delta.reasoning_content]
    if delta.tool_calls is not UNSET:
        pieces += [call.function.arguments for call in delta.tool_calls]
    if delta.function_call is not UNSET:
        pieces.append(delta.function_call.arguments)
    return "".join(piece for piece in pieces if isinstance(piece, str))
