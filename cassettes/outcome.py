"""How an exchange ended, and whether the request or the proxy caused a failure. Pure.

A cassette has three facts about the end of an exchange: ``how`` the connection ended, the ``status``, and the ``error``
in the answer. A complete answer with status 503 is ``done`` there, because a replay must also end it cleanly. The
outcome says something else: whether the app got what it asked for.
"""

from collections.abc import Mapping
from typing import Any, Literal

from cassettes.format import How

DONE: Literal["done"] = "done"
FAILED: Literal["failed"] = "failed"

PASSING = frozenset({401, 402, 403, 407, 408, 409, 425, 429})
"""Statuses below 500 that are caused by credentials, limits or the state of the proxy, not by the request."""

OF_THE_PROXY = frozenset({"invalid_api_key", "permission_denied", "forbidden"})
"""Codes of ``invalid_request_error`` that are caused by the proxy's own credentials."""

OF_THE_APP = frozenset({"invalid_prompt", "context_length_exceeded", "request_too_large"})
"""Codes that are caused by the request. The errors of failed responses have a code but no type."""


def outcome(how: How, status: int | None, error: Any = None, method: str = "POST") -> How:
    """Return how an exchange ended: ``done``, ``failed``, ``cut_by_app`` or ``interrupted``.

    An answer with a status of 400 or more has failed. So has an answer that began with 200 and has an error later. A
    GET that returns an earlier failure has not failed.
    """
    if how != DONE:
        return how
    if status is not None and status >= 400:
        return FAILED
    return FAILED if error is not None and method == "POST" else DONE


def failed_at_the_proxy(
    how: How, status: int | None, error: Any = None, method: str = "POST", *, said: bool = True
) -> bool:
    """Return whether an exchange failed, but not because of the request. The same request may succeed the next time.

    This is true for missing credentials, limits (429), time-outs, broken streams, and every status of 500 or more. It
    is false if the request itself was refused (400, 404, 413, 422). It is also false if the app disconnected during
    the answer. If nothing was ``said`` before the app disconnected, it is true: the app waited for an answer that did
    not come.
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
    """Return whether an error in a stream is about the request. An error that is only a text means a broken stream."""
    if not isinstance(error, Mapping):
        return False
    inner = error.get("error")
    kind = error.get("type") or (inner.get("type") if isinstance(inner, Mapping) else None)
    code = error.get("code")
    return code in OF_THE_APP or (kind == "invalid_request_error" and code not in OF_THE_PROXY)


def reason(status: int | None, error: Any) -> str:
    """Return in a few words why an exchange failed: ``401 invalid_api_key``, ``overloaded``, ``it broke off``."""
    status_text = str(status) if status is not None and status >= 400 else ""
    if isinstance(error, Mapping):
        told = error.get("code") or error.get("type") or error.get("message")
        return f"{status_text} {told or ''}".strip() or "an error"
    return f"{status_text} {error or ''}".strip() or "it broke off"
