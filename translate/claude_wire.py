"""Claude's stream events, as Structs.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming. Blocks and deltas are structs with all fields
and not tagged unions, because a block or delta of an unknown type is no error.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec


class Block(msgspec.Struct, frozen=True):
    """The start of a content block of any type, such as ``text``, ``thinking`` or ``tool_use``."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    data: str = ""
    tool_use_id: str = ""
    content: Any = None
    server_name: str = ""
    is_error: bool = False
    tools: list[dict[str, Any]] = []


class Delta(msgspec.Struct, frozen=True):
    """A piece of a content block. ``type`` decides which field is used."""

    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: dict[str, Any] | None = None


class MessageStarted(msgspec.Struct, frozen=True):
    """``message_start.message``: the name of the model that answers, and the first token counts."""

    model: str = ""
    usage: dict[str, Any] = {}


class Stop(msgspec.Struct, frozen=True):
    """``message_delta.delta``."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class MessageStart(msgspec.Struct, frozen=True, tag="message_start"):
    """The beginning of the answer."""

    message: MessageStarted


class ContentBlockStart(msgspec.Struct, frozen=True, tag="content_block_start"):
    """The beginning of a block."""

    index: int
    content_block: Block


class ContentBlockDelta(msgspec.Struct, frozen=True, tag="content_block_delta"):
    """The next piece of a block."""

    index: int
    delta: Delta


class ContentBlockStop(msgspec.Struct, frozen=True, tag="content_block_stop"):
    """The end of a block."""

    index: int


class MessageDelta(msgspec.Struct, frozen=True, tag="message_delta"):
    """The end of the answer: the stop reason and the final token counts."""

    delta: Stop
    usage: dict[str, Any] | None = None


class MessageStop(msgspec.Struct, frozen=True, tag="message_stop"):
    """The last event."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """An event without content, which keeps the connection alive."""


type ClaudeEvent = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)

# By type, because msgspec caches the decoder of a Struct, and not that of a union.
EVENTS: dict[str, type[ClaudeEvent]] = {
    "message_start": MessageStart,
    "content_block_start": ContentBlockStart,
    "content_block_delta": ContentBlockDelta,
    "content_block_stop": ContentBlockStop,
    "message_delta": MessageDelta,
    "message_stop": MessageStop,
    "ping": Ping,
}


def decode_event(raw: Mapping[str, Any]) -> ClaudeEvent | None:
    """Return a typed event; None if its type is unknown.

    Raises msgspec.ValidationError if an event of a known type has not the form of its type.
    """
    kind = EVENTS.get(raw.get("type", ""))
    return None if kind is None else msgspec.convert(raw, kind)


PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""The types of deltas that are pieces of one text -> the field with the piece."""


def join_deltas(events: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the events, with adjacent pieces of one text joined."""
    pieces: list[str] = []
    last: Mapping[str, Any] | None = None
    for event in events:
        place = _piece(event)
        if last is not None and place is not None and place == _piece(last):
            pieces.append(event["delta"][place[1]])
            continue
        if last is not None:
            yield _joined(last, pieces)
        last, pieces = event, []
    if last is not None:
        yield _joined(last, pieces)


def _piece(event: Mapping[str, Any]) -> tuple[Any, str] | None:
    """Return (block index, field) for a piece of text; None for any other event."""
    if event.get("type") != "content_block_delta":
        return None
    delta = event.get("delta")
    if not isinstance(delta, Mapping):
        return None
    field = PIECES.get(str(delta.get("type")))
    return (event.get("index"), field) if field and isinstance(delta.get(field), str) else None


def _joined(event: Mapping[str, Any], more: Sequence[str]) -> Mapping[str, Any]:
    place = _piece(event) if more else None
    if place is None:
        return event
    delta = event["delta"]
    return {**event, "delta": {**delta, place[1]: delta[place[1]] + "".join(more)}}
