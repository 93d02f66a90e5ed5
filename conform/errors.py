"""Checks of errors, and of the headers of every answer.

Sources: recorded errors for the body and the media types, and OpenAI's API reference (Debugging requests) for the
headers. Recordings have few headers, so only the media type of a recording is checked.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from conform.exchange import Exchange, Problem, short

ERROR_KEYS = ("message", "type", "param", "code")
"""All 15 recorded errors have these keys. Keys without a value are null."""


def check_error(exchange: Exchange) -> Iterator[Problem]:
    """Check an error. It is JSON with the four keys, even if the request asked for a stream."""
    if not exchange.is_error or exchange.messages is not None:
        return
    body = exchange.body
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        came = short(exchange.text if not isinstance(body, dict) else body)
        yield Problem("$.error", came, f"an object with {', '.join(ERROR_KEYS)}")
        return
    for key in body:
        if key != "error":
            yield Problem(f"$.{key}", short(body[key]), "error alone, in all recorded errors")
    if not error.get("message"):
        yield Problem("$.error.message", short(error.get("message")), "a text, in all recorded errors")
    if not error.get("type"):
        yield Problem("$.error.type", short(error.get("type")), "a word, in all recorded errors")
    if str(error.get("code")) == str(exchange.status):
        yield Problem("$.error.code", short(error["code"]), "a word or null; the number is the status")


def check_wanted_error(exchange: Exchange, status: int, wanted: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that a wrong request got the same status and the same fields of the error as at the real API."""
    if exchange.status != status:
        yield Problem("status", str(exchange.status), str(status))
        return
    error = exchange.body.get("error") if isinstance(exchange.body, dict) else None
    for key, value in wanted.items():
        if isinstance(error, dict) and error.get(key) != value:
            yield Problem(f"$.error.{key}", short(error.get(key)), short(value))


def check_headers(exchange: Exchange, *, recorded: bool) -> Iterator[Problem]:
    """Check the headers of an answer over HTTP. For a recording, check only the media type."""
    if exchange.messages is not None:
        return
    is_stream = (
        exchange.is_stream if exchange.request is None else not exchange.is_error and exchange.asked.get("stream")
    )
    wanted = "text/event-stream" if is_stream else "application/json"
    if exchange.content_type != wanted:
        yield Problem("content-type", exchange.headers.get("content-type", "none"), wanted)
    if recorded:
        return
    if not exchange.headers.get("x-request-id"):
        yield Problem("x-request-id", "no such header", "the id of the request, in every answer")
    if exchange.is_error or exchange.method != "POST":
        return
    processing = exchange.headers.get("openai-processing-ms")
    if processing is None or not processing.isdigit():
        yield Problem("openai-processing-ms", processing or "no such header", "milliseconds, as a whole number")
    version = exchange.headers.get("openai-version")
    if version is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", version):
        yield Problem("openai-version", version or "no such header", "2020-10-01")
