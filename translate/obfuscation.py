"""Padding that hides how long the pieces of a streamed answer are.

Anybody who watches an encrypted connection sees the size of each event. A piece of text is about one token, so the
sizes reveal much about the text. OpenAI adds a field ``obfuscation`` to each chunk, and to each event whose type ends
in ``.delta``, unless ``stream_options.include_obfuscation`` is false. The field fills the piece up to a multiple of 16
(recorded answers of OpenAI, from 2025-10 on).

OpenAI's padding is random. This padding depends only on the length of the piece, because only the size can be seen from
outside. So the same events always give the same bytes.

Add the padding last: if pieces are joined afterwards, their padding is wrong.
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
    """Return a text that fills a piece up to a multiple of 16 bytes in UTF-8."""
    return _PADDING[: -len(piece.encode("utf-8", "surrogatepass")) % STEP]


def padded_chunk(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return a chunk with its padding."""
    piece = "".join(_text(choice.delta) for choice in chunk.choices)
    return replace(chunk, obfuscation=padding_for(piece))


def padded_event(event: ResponseEvent) -> ResponseEvent:
    """Return an event with its padding. An event without a piece of text is returned unchanged."""
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
    """Return all text of a delta."""
    pieces = [delta.content, delta.refusal, delta.reasoning_content]
    if delta.tool_calls is not UNSET:
        pieces += [call.function.arguments for call in delta.tool_calls]
    if delta.function_call is not UNSET:
        pieces.append(delta.function_call.arguments)
    return "".join(piece for piece in pieces if isinstance(piece, str))
