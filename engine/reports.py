"""What Claude Code reports of a failure, read: a message of the SDK's in, a ClaudeError out. Pure.

Three kinds of messages tell of a failure (facts F50 and F51). ``api_retry`` announces that Claude Code will ask again,
with the API's status and its ``retry-after``, and without its words. An AssistantMessage with ``error`` has Claude
Code's own class for it, and the API's request id. A ResultMessage with ``is_error`` has the status and the words.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import NO_CREDENTIALS, ClaudeError, kind_of
from translate.reasons import reason

# A delay shorter than this is the CLI's own back-off, not the API's retry-after header.
MIN_RETRY_AFTER_MS = 900

# How Claude Code says that it has no credentials at all. It has not asked the API then (fact F56).
NOT_LOGGED_IN = "Not logged in"

# Statuses for which the API says what is wrong with the request itself, and not with the account or the API.
ABOUT_THE_REQUEST = (400, 413)

_API_ERROR = re.compile(r"(?:Failed to authenticate\. )?API Error: ?(?:\d{3} ?)?(?P<words>.*)", re.DOTALL)

# In what Claude Code says of a connection that failed, the system's code for why stands in brackets at the end.
_CODE = re.compile(r"\(([A-Za-z0-9_]{4,60})\)")

CAUSES: Mapping[str, str] = {
    "ECONNREFUSED": "connection refused",
    "ConnectionRefused": "connection refused",
    "ENOTFOUND": "name not resolved",
    "EAI_AGAIN": "name not resolved",
    "ETIMEDOUT": "timed out",
    "ECONNRESET": "connection reset",
    "ConnectionClosed": "connection closed",
    "EPIPE": "connection closed",
    "EHOSTUNREACH": "no route to the host",
    "ENETUNREACH": "no route to the network",
    "EPROTO": "TLS failure",
    "ERR_PROXY_TUNNEL": "the proxy before it refused the connection",
    "CERT_HAS_EXPIRED": "TLS failure: its certificate has expired",
    "SELF_SIGNED_CERT_IN_CHAIN": "TLS failure: its certificate is from an unknown authority",
    "DEPTH_ZERO_SELF_SIGNED_CERT": "TLS failure: its certificate is from an unknown authority",
    "UNABLE_TO_GET_ISSUER_CERT": "TLS failure: its certificate is from an unknown authority",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY": "TLS failure: its certificate is from an unknown authority",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": "TLS failure: its certificate is from an unknown authority",
    "ERR_TLS_CERT_ALTNAME_INVALID": "TLS failure: its certificate is for another name",
}
"""The system's code for why a connection failed -> in words."""


class Result(Protocol):
    """What is read of the SDK's ResultMessage."""

    @property
    def is_error(self) -> bool: ...  # noqa: D102
    @property
    def subtype(self) -> str: ...  # noqa: D102
    @property
    def result(self) -> str | None: ...  # noqa: D102
    @property
    def errors(self) -> list[str] | None: ...  # noqa: D102
    @property
    def api_error_status(self) -> int | None: ...  # noqa: D102
    @property
    def terminal_reason(self) -> str | None: ...  # noqa: D102


@dataclass(slots=True)
class Told:
    """What a turn has been told of its failure before its result: Claude Code's word, and the API's request id."""

    word: str | None = None
    request_id: str | None = None


def retry_announced(data: Mapping[str, Any], *, started: bool = False) -> ClaudeError:
    """Read the announcement of a retry, the one place where the API's retry-after shows.

    ``started``: whether some of the answer had come before.
    """
    status, delay_ms = data.get("error_status"), data.get("retry_delay_ms") or 0
    detail = f"status {status}, {data.get('error')}" if status is not None else "no answer"
    if started:
        return ClaudeError("stream_error", detail=detail)
    # The CLI waits up to a quarter longer than the header says, never shorter: rounding down stays at or above it.
    retry_after_s = delay_ms // 1000 or 1 if delay_ms >= MIN_RETRY_AFTER_MS else None
    return ClaudeError(kind_of(status, data.get("error")), detail=detail, retry_after_s=retry_after_s)


def failed(result: Result, told: Told, *, started: bool = False) -> ClaudeError:
    """Read a result of failure. ``started``: whether some of the answer had come before."""
    if not result.is_error:
        return ClaudeError("cli_failed", detail="a result without an answer")
    text = result.result or "; ".join(result.errors or ())
    status = result.api_error_status
    kind = kind_of(status, told.word, result.terminal_reason)
    if kind == "authentication_error" and status is None and text.startswith(NOT_LOGGED_IN):
        kind, text = "not_logged_in", NO_CREDENTIALS.replace(": requests will get 401", "")
    # An error event inside the stream has a status of its own (529, fact F54), which the answer cannot have any more.
    if started and kind not in ("overloaded_error", "rate_limit_error"):
        kind = "stream_error"
    # It says "success" of every error of the API's (fact F51).
    how = result.subtype if result.subtype != "success" else None
    known = (f"status {status}" if status is not None else None, told.word, result.terminal_reason, how)
    detail = f"{cause(text) or text} ({', '.join(filter(None, known))})"
    words = api_words(text) if status in ABOUT_THE_REQUEST and kind != "billing_error" else None
    return ClaudeError(kind, detail=detail, reason=reason(words) if words else None, request_id=told.request_id)


def cause(text: str) -> str | None:
    """Return in words why a connection failed, from what Claude Code says of it; None where it does not say."""
    return next((CAUSES[code] for code in _CODE.findall(text) if code in CAUSES), None)


def api_words(text: str) -> str:
    """Return the API's own words, from what Claude Code says of an error of the API's.

    It quotes them after the status; where it did not understand the body, that stands there whole.
    """
    match = _API_ERROR.fullmatch(text)
    words = match["words"] if match else text
    if words.startswith("{"):
        try:
            words = str(json.loads(words)["error"]["message"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
    return words
