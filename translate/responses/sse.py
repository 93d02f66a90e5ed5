"""Events of a response -> bytes of an event stream. There is no ``[DONE]`` in this dialect: the last event says it."""

import msgspec

from translate.responses.wire import ResponseEvent

_encoder = msgspec.json.Encoder()


def event(event: ResponseEvent) -> bytes:
    """Encode one event, under its name."""
    return b"event: " + name(event).encode("ascii") + b"\ndata: " + _encoder.encode(event) + b"\n\n"


def name(event: ResponseEvent) -> str:
    """Return an event's type: ``response.output_text.delta`` and so on."""
    return str(event.__struct_config__.tag)
