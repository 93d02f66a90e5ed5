"""Server-sent events: OpenAI's streams as bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html).

An event is encoded as JSON once, as an :class:`EncodedEvent`. Only the connection that sends it decides its form: an
HTTP response sends it as part of an event stream (:func:`stream_bytes`), a WebSocket sends its JSON as a message.
"""

from collections.abc import Iterable

import msgspec

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: part of every event stream, and ignored by every client."""

_encoder = msgspec.json.Encoder()


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event. ``data`` is its JSON without line breaks; ``type`` is its name, "" for events without a name."""

    data: bytes
    type: str = ""


DONE = EncodedEvent(b"[DONE]")
"""The last event of a stream of chunks. It is never sent after a failure. Streams of responses have no such event."""


def event(value: object) -> EncodedEvent:
    """Encode one event: a Struct, or any value that msgspec can encode. The Struct's tag, if any, is the event's type.

    Events of the Responses API have tags, such as ``response.output_text.delta``. Chunks have none.
    """
    return EncodedEvent(_encoder.encode(value), type_of(value))


def type_of(value: object) -> str:
    """Return the type of an event that is not encoded yet; "" if it has none."""
    tag = value.__struct_config__.tag if isinstance(value, msgspec.Struct) else None
    return tag if isinstance(tag, str) else ""


class _Head(msgspec.Struct):
    """The one field of a stored event that is needed to send it again."""

    type: str


_head_decoder = msgspec.json.Decoder(_Head)


def stored_event(data: bytes) -> EncodedEvent:
    """Return an event of the Responses API from its stored JSON. Raises msgspec.DecodeError if it has no type."""
    return EncodedEvent(data, _head_decoder.decode(data).type)


def stream_bytes(events: Iterable[EncodedEvent]) -> bytes:
    """Return events as bytes of an event stream."""
    return b"".join([_block(event) for event in events])


def _block(event: EncodedEvent) -> bytes:
    name = b"event: " + event.type.encode("utf-8") + b"\n" if event.type else b""
    return name + b"data: " + event.data + b"\n\n"


class Reader:
    """Reads events from the bytes of a recorded stream. The bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[EncodedEvent]:
        """Return the events that are complete now. A block without data, such as a comment, has empty data."""
        *blocks, self._held = (self._held + data).split(b"\n\n")
        return [_read(block) for block in blocks]


def _read(block: bytes) -> EncodedEvent:
    fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
    return EncodedEvent(fields.get(b"data", b""), fields.get(b"event", b"").decode("utf-8", "replace"))
