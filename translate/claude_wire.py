"""Claude's stream events, as Structs.

The shapes are those of https://docs.anthropic.com/en/docs/build-with-claude/streaming. Blocks and deltas are open
structs rather than tagged unions: a kind that we have never seen must pass through, not fail.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec


class Block(msgspec.Struct, frozen=True):
    """The start of a content block: ``text``, ``thinking``, ``tool_use``, a server tool's, or one yet unknown."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    data: str = ""
    tool_use_id: str = ""
    content: Any = None
    server_name: str = ""
    is_error: bool = False
    tools: list[dict[str, Any]] = []


class Delta(msgspec.Struct, frozen=True):
    """A piece of a content block; which field is filled follows from ``type``."""

    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: dict[str, Any] | None = None


class MessageStarted(msgspec.Struct, frozen=True):
    """``message_start.message``, of which the model's true name and the first counts matter here."""

    model: str = ""
    usage: dict[str, Any] = {}


class Stop(msgspec.Struct, frozen=True):
    """``message_delta.delta``."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class MessageStart(msgspec.Struct, frozen=True, tag="message_start"):
    """The answer begins."""

    message: MessageStarted


class ContentBlockStart(msgspec.Struct, frozen=True, tag="content_block_start"):
    """A block begins."""

    index: int
    content_block: Block


class ContentBlockDelta(msgspec.Struct, frozen=True, tag="content_block_delta"):
    """A block goes on."""

    index: int
    delta: Delta


class ContentBlockStop(msgspec.Struct, frozen=True, tag="content_block_stop"):
    """A block ends."""

    index: int


class MessageDelta(msgspec.Struct, frozen=True, tag="message_delta"):
    """The answer's end: why it stopped, and the final counts."""

    delta: Stop
    usage: dict[str, Any] | None = None


class MessageStop(msgspec.Struct, frozen=True, tag="message_stop"):
    """Nothing follows."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """A sign of life."""


type ClaudeEvent = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)

# By type, because msgspec remembers how to read a Struct, and works a union out anew at every call.
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
    """Make a typed event of a raw one; None for a type that we do not know.

    Raises msgspec.ValidationError when an event of a known type lacks what it must have.
    """
    kind = EVENTS.get(raw.get("type", ""))
    return None if kind is None else msgspec.convert(raw, kind)


PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""The deltas that are pieces of one text, and where the piece is."""


def join_deltas(events: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the events with adjacent pieces of one text as one piece."""
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
    """Return (which block, which field) for a piece of text; None for any other event."""
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
