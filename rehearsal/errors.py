"""Anthropic's error statuses, their types, and the body of an error."""

from collections.abc import Mapping
from typing import Any

ERROR_TYPES: Mapping[int, str] = {  # HTTP status -> Anthropic's error.type
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_MESSAGES: Mapping[int, str] = {  # from recordings or reports, if there are any
    400: "Error",
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the Anthropic API.",
    403: "Permission denied",
    404: "Not found",
    408: "Request timeout",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your account's rate limit. Please try again later.",
    500: "Internal server error",
    504: "Request timed out",
    529: "Overloaded",
}


def error_type(status: int) -> str:
    """Return Anthropic's error type for a status. Unknown: api_error from 500 on, else invalid_request_error."""
    return ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def error_status(kind: str) -> int:
    """Return the status that Anthropic sends with an error type; 500 for an unknown type."""
    return next((status for status, name in ERROR_TYPES.items() if name == kind), 500)


def error_message(status: int) -> str:
    """Return the text that usually comes with a status."""
    return _MESSAGES.get(status, "Internal server error" if status >= 500 else "Error")


def error_body(kind: str, message: str, request_id: str | None) -> dict[str, Any]:
    """Return the body of an error. Error events in a stream have no request id: pass None."""
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
    if request_id is not None:
        body["request_id"] = request_id
    return body
