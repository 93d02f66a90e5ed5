"""The JSON body of a request. Whatever reads a request of an app reads it with this."""

import re
from typing import Any

import msgspec

from translate.errors import OpenAIError

STEP = 256 * 1024
"""A longer piece of JSON is decoded value by value. To decode it in one step would block other threads for too long."""

DEPTH = 4
"""How many levels are decoded value by value: the body, its messages, their parts, and the fields of a part."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Half of a surrogate pair in a JSON string, or a run without any. A run is long, so that not each of a million escapes
# is a call, and has an end, so that other threads can run meanwhile.
_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = rb"u[dD][89a-fA-F][0-9a-fA-F]{2}"
_RUN = rb"(?:[^\\]{1,500}+|\\(?:" + _PAIR + rb"|(?!" + _HALF + rb").|\Z)){1,200}+"
_PIECE = re.compile(_RUN + rb"|(?P<half>\\" + _HALF + rb")", re.DOTALL)


def decode_json(text: bytes) -> Any:
    """Decode JSON. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.

    A byte order mark is passed over, as RFC 8259 allows. Half of a surrogate pair becomes U+FFFD: it is JSON by the
    grammar, and JavaScript programs send it if they cut a text in the middle of a character.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        return _decode(text, DEPTH)
    except msgspec.DecodeError:
        whole = _PIECE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], text)
        if whole == text:
            raise
        return _decode(whole, DEPTH)


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a request's JSON body. Raises OpenAIError (400) unless it is an object."""
    try:
        fields = decode_json(body)
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
