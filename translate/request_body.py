"""The JSON body of a request. Whatever reads a request of an app reads it with this."""

from typing import Any

import msgspec

from translate.errors import OpenAIError


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a request's JSON body. Raises OpenAIError (400) unless it is an object."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OpenAIError(
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload."
        ) from None
    if not isinstance(fields, dict):
        raise OpenAIError("The body of the request must be a JSON object.", code="invalid_type")
    return fields
