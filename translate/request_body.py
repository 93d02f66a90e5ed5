"""The JSON body of a request. Whatever reads a request of an app reads it with this."""

import re
from typing import Any

import msgspec

from translate.errors import OpenAIError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# An escape in a JSON string: a surrogate pair, half a pair, or any other.
_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rb"\\(?:" + _PAIR + rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def decode_json(text: bytes) -> Any:
    """Decode JSON. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.

    A byte order mark is passed over, as RFC 8259 allows. Half of a surrogate pair becomes U+FFFD: it is JSON by the
    grammar, and JavaScript programs send it if they cut a text in the middle of a character.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        whole = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], text)
        if whole == text:
            raise
        return msgspec.json.decode(whole)


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
