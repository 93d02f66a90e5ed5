"""The JSON body of a request. Whatever reads a request of an app reads it with this."""

from typing import Any

import msgspec

from translate.errors import OpenAIError

STEP = 256 * 1024
"""A longer piece of JSON is decoded value by value. To decode it in one step would block other threads for too long."""

DEPTH = 4
"""How many levels are decoded value by value: the body, its messages, their parts, and the fields of a part."""


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a request's JSON body. Raises OpenAIError (400) unless it is an object."""
    try:
        fields = _decode(body, DEPTH)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OpenAIError(
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload."
        ) from None
    if not isinstance(fields, dict):
        raise OpenAIError("The body of the request must be a JSON object.", code="invalid_type")
    return fields


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _decode(data: bytes | msgspec.Raw, levels: int) -> Any:
    view = memoryview(data)
    if len(view) >= STEP and levels:
        begins = bytes(view[:100]).lstrip()[:1]
        if begins == b"{":
            return {name: _decode(value, levels - 1) for name, value in _decode_object(data).items()}
        if begins == b"[":
            return [_decode(value, levels - 1) for value in _decode_array(data)]
    return msgspec.json.decode(data)
