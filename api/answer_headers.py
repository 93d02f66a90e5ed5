"""The headers that are ours: who answers, on what process, and what had no effect."""

import time
from collections.abc import Sequence

from api.app import Service, common_headers

MOST_IGNORED = 100
"""How many are named. A long history may have thousands, and Node takes no more than 16 kB of headers."""


def headers_of_answer(
    service: Service,
    *,
    began: float,
    model: str,
    processes: Sequence[str],
    retries: int,
    ignored: Sequence[str],
) -> list[tuple[str, str]]:
    """Return the headers of an answer that Claude gives, OpenAI's own among them.

    ``began`` is when the request came (``time.monotonic()``); ``processes`` is empty while a turn still waits for one.
    """
    headers = [
        *common_headers(),
        ("openai-processing-ms", str(round((time.monotonic() - began) * 1000))),
        ("x-understudy-model", model),
        ("x-understudy-process", ", ".join(filter(None, processes)) or "waiting"),
    ]
    if retries:
        headers.append(("x-understudy-retries", str(retries)))
    if ignored:
        more = [f"and {len(ignored) - MOST_IGNORED} more"] if len(ignored) > MOST_IGNORED else []
        headers.append(("x-understudy-ignored", ", ".join([*ignored[:MOST_IGNORED], *more])))
    if service.rehearsal:
        headers.append(("x-understudy-rehearsal", "no model was asked"))
    return headers
