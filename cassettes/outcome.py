"""How an exchange ended, and whose doing a failure was. Pure.

A cassette tells three things of an end: ``how`` the connection ended, the ``status``, and the ``error`` that the answer
told. An answer of 503 whose connection ended well is ``done`` there, because a replay must end it as cleanly. People
and counters want to know something else: whether the app got what it asked for. That is the outcome.
"""

from collections.abc import Mapping
from typing import Any, Literal

from cassettes.format import How

DONE: Literal["done"] = "done"
FAILED: Literal["failed"] = "failed"

PASSING = frozenset({401, 402, 403, 407, 408, 409, 425, 429})
"""Statuses below 500 that tell of credentials, limits and states of the proxy, and nothing of the request itself."""

OF_THE_PROXY = frozenset({"invalid_api_key", "permission_denied", "forbidden"})
"""Codes of ``invalid_request_error`` that tell of the proxy's own credentials."""

OF_THE_APP = frozenset({"invalid_prompt", "context_length_exceeded", "request_too_large"})
"""Codes that tell of the request, in errors that name no type: those of a response that failed."""


def outcome(how: How, status: int | None, error: Any = None, method: str = "POST") -> How:
    """Return how an exchange ended: ``done``, ``failed``, ``cut_by_app`` or ``interrupted``.

    Whatever has a status of 400 or more has failed, and so has an answer that tells an error after it had begun with
    200. Asking for something that failed earlier (GET) is no failure.
    """
    if how != DONE:
        return how
    if status is not None and status >= 400:
        return FAILED
    return FAILED if error is not None and method == "POST" else DONE


def failed_at_the_proxy(
    how: How, status: int | None, error: Any = None, method: str = "POST", *, said: bool = True
) -> bool:
    """Whether an exchange failed through nothing that the app had asked: the same request may be answered next time.

    That is so without credentials, at a limit (429), after a time-out, with a stream that broke off, and for every
    status of 500 and more. It is not so for what Claude or the proxy refuse because of the request (400, 404, 413,
    422), and not for an answer that the app itself left, as far as there was one: with nothing ``said`` until then, the
    app had waited in vain.
    """
    ended = outcome(how, status, error, method)
    if ended == "interrupted" or (ended == "cut_by_app" and not said):
        return True
    if ended != FAILED:
        return False
    if status is not None and status >= 400:
        return status >= 500 or status in PASSING
    return not _is_of_the_request(error)


def _is_of_the_request(error: Any) -> bool:
    """Whether an error that a stream told is about the request. One without any shape tells that the stream broke."""
    if not isinstance(error, Mapping):
        return False
    inner = error.get("error")
    kind = error.get("type") or (inner.get("type") if isinstance(inner, Mapping) else None)
    code = error.get("code")
    return code in OF_THE_APP or (kind == "invalid_request_error" and code not in OF_THE_PROXY)


def reason(status: int | None, error: Any) -> str:
    """Say in a few words why an exchange failed: ``401 invalid_api_key``, ``overloaded``, ``Client disconnected.``"""
    status_text = str(status) if status is not None and status >= 400 else ""
    if isinstance(error, Mapping):
        told = error.get("code") or error.get("type") or error.get("message")
        return f"{status_text} {told or ''}".strip() or "an error"
    return f"{status_text} {error or ''}".strip() or "it broke off"
