"""The headers of answers: OpenAI's, and Understudy's own about who answered and what had no effect."""

import secrets
import time
from collections.abc import Sequence
from contextvars import ContextVar

from engine.progress import REQUEST_ID
from translate.known_keys import report

JSON = ("content-type", "application/json")

BEGAN: ContextVar[float | None] = ContextVar("began", default=None)
"""When the present request came (``time.monotonic()``); None outside of a request."""

IGNORED_HEADER = "x-understudy-ignored"
"""The header that names what has no effect in a request."""


def new_request_id() -> str:
    """Return an id as OpenAI has them."""
    return f"req_{secrets.token_hex(16)}"


def common_headers() -> list[tuple[str, str]]:
    """Return the headers that every answer of OpenAI's has. The log has the same request id.

    ``openai-processing-ms`` is the time from the request to this call. Nothing stands for ``openai-organization`` and
    ``openai-project`` here, so they are absent.
    """
    headers = [("x-request-id", REQUEST_ID.get() or new_request_id()), ("openai-version", "2020-10-01")]
    if (began := BEGAN.get()) is not None:
        headers.append(("openai-processing-ms", str(round((time.monotonic() - began) * 1000))))
    return headers


def headers_of_answer(
    *,
    rehearsal: bool,
    model: str,
    processes: Sequence[str] | None,
    retries: int,
    ignored: Sequence[str],
) -> list[tuple[str, str]]:
    """Return the headers of an answer that Claude gives, OpenAI's own among them.

    ``rehearsal``: no model is asked. ``processes`` is empty while a turn still waits for one, and None if there is no
    turn. ``ignored`` are the paths of what has no effect in the request.
    """
    headers = [
        *common_headers(),
        ("x-understudy-model", model),
    ]
    if processes is not None:
        headers.append(("x-understudy-process", ", ".join(filter(None, processes)) or "waiting"))
    if retries:
        headers.append(("x-understudy-retries", str(retries)))
    if ignored:
        headers.append((IGNORED_HEADER, report(ignored)))
    if rehearsal:
        headers.append(("x-understudy-rehearsal", "no model was asked"))
    return headers
