"""Claude Code's reports of a failure -> ClaudeError. Pure.

Three kinds of SDK messages report a failure (facts F50 and F51). ``api_retry`` announces that Claude Code will ask
again. It has the API's status and its ``retry-after``, and no text. An AssistantMessage with ``error`` has Claude
Code's name for the failure, and the API's request id. A ResultMessage with ``is_error`` has the status and the text.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import NO_CREDENTIALS, ClaudeError, kind_of
from translate.reasons import reason

# A shorter delay is Claude Code's own back-off, and not the API's retry-after header.
MIN_RETRY_AFTER_MS = 900

# The beginning of Claude Code's text if it has no credentials. It has not asked the API then (fact F56).
NOT_LOGGED_IN = "Not logged in"

# With these statuses the API describes an error in the request, and not one of the account or of the API.
ABOUT_THE_REQUEST = (400, 413)

_API_ERROR = re.compile(r"(?:Failed to authenticate\. )?API Error: ?(?:\d{3} ?)?(?P<words>.*)", re.DOTALL)

# Claude Code's text about a failed connection ends with the system's error code in brackets.
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
"""The system's error code -> the reason in words."""


class Result(Protocol):
    """The fields of the SDK's ResultMessage that are read here."""

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
    """What was reported of a failure before the result: Claude Code's name for it, and the API's request id."""

    word: str | None = None
    request_id: str | None = None


def retry_announced(data: Mapping[str, Any], *, started: bool = False) -> ClaudeError:
    """Return the failure that the announcement of a retry reports. Only this message has the API's retry-after.

    ``started`` says that a part of the answer had arrived before.
    """
    status, delay_ms = data.get("error_status"), data.get("retry_delay_ms") or 0
    detail = f"status {status}, {data.get('error')}" if status is not None else "no answer"
    if started:
        return ClaudeError("stream_error", detail=detail)
    # Claude Code waits up to a quarter longer than the header says, and never shorter. So the value is rounded down.
    retry_after_s = delay_ms // 1000 or 1 if delay_ms >= MIN_RETRY_AFTER_MS else None
    return ClaudeError(kind_of(status, data.get("error")), detail=detail, retry_after_s=retry_after_s)


def failed(result: Result, told: Told, *, started: bool = False) -> ClaudeError:
    """Return the failure that a result reports. ``started`` says that a part of the answer had arrived before."""
    if not result.is_error:
        return ClaudeError("cli_failed", detail="a result without an answer")
    text = result.result or "; ".join(result.errors or ())
    status = result.api_error_status
    kind = kind_of(status, told.word, result.terminal_reason)
    if kind == "authentication_error" and status is None and text.startswith(NOT_LOGGED_IN):
        kind, text = "not_logged_in", NO_CREDENTIALS.replace(": requests will get 401", "")
    # An error event in the stream has a status (529, fact F54). But the status of the app's answer is already sent.
    if started and kind not in ("overloaded_error", "rate_limit_error"):
        kind = "stream_error"
    # The subtype is "success" for every error of the API (fact F51).
    how = result.subtype if result.subtype != "success" else None
    known = (f"status {status}" if status is not None else None, told.word, result.terminal_reason, how)
    detail = f"{cause(text) or text} ({', '.join(filter(None, known))})"
    words = api_words(text) if status in ABOUT_THE_REQUEST and kind != "billing_error" else None
    return ClaudeError(kind, detail=detail, reason=reason(words) if words else None, request_id=told.request_id)


def cause(text: str) -> str | None:
    """Return the reason for a failed connection from Claude Code's text; None if the text has no known error code."""
    return next((CAUSES[code] for code in _CODE.findall(text) if code in CAUSES), None)


def api_words(text: str) -> str:
    """Return the API's error message from Claude Code's text.

    Claude Code quotes the message after the status. If it could not read the body, it quotes the whole body.
    """
    match = _API_ERROR.fullmatch(text)
    words = match["words"] if match else text
    if words.startswith("{"):
        try:
            words = str(json.loads(words)["error"]["message"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
    return words
