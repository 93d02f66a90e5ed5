"""The headers that are ours: who answers, on what process, and what had no effect."""

import secrets
import time
from collections.abc import Sequence

from engine.progress import REQUEST_ID
from translate.known_keys import report

JSON = ("content-type", "application/json")

IGNORED_HEADER = "x-understudy-ignored"
"""The header that names what has no effect in a request."""


def new_request_id() -> str:
    """Return an id as OpenAI has them."""
    return f"req_{secrets.token_hex(16)}"


def common_headers() -> list[tuple[str, str]]:
    """Return what OpenAI's answers always carry. The log knows a request by the same id as its app."""
    return [("x-request-id", REQUEST_ID.get() or new_request_id()), ("openai-version", "2020-10-01")]


def headers_of_answer(
    *,
    rehearsal: bool,
    began: float,
    model: str,
    processes: Sequence[str] | None,
    retries: int,
    ignored: Sequence[str],
) -> list[tuple[str, str]]:
    """Return the headers of an answer that Claude gives, OpenAI's own among them.

    ``rehearsal``: no model is asked. ``began`` is when the request came (``time.monotonic()``). ``processes`` is empty
    while a turn still waits for one, and None if there is no turn. ``ignored`` are the paths of what has no effect in
    the request.
    """
    headers = [
        *common_headers(),
        ("openai-processing-ms", str(round((time.monotonic() - began) * 1000))),
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
