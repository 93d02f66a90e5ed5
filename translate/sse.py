"""Chunks -> bytes of an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"
"""OpenAI's last event. Never sent after a failure."""

_encoder = msgspec.json.Encoder()


def event(data: Any) -> bytes:
    """Encode one event whose data is JSON: a Struct, or what msgspec encodes."""
    return b"data: " + _encoder.encode(data) + b"\n\n"


def raw_event(data: bytes) -> bytes:
    """Wrap JSON that is encoded already (and so has no line break)."""
    return b"data: " + data + b"\n\n"
