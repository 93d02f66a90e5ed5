"""Recorded answers of Claude's: their counts, why they ended, and those that failed."""

import json
from typing import Any

import pytest

from engine.errors import kind_of
from rehearsal.errors import error_status
from tests.translate.test_corpus_requests import requests
from tests.translate.test_corpus_tools import (
    CORPUS,
    MESSAGES,
    answered,
    events_of_sse,
    exchanges,
    load,
    validator,  # noqa: F401 — a fixture
)
from translate.chat.finish_reason import FINISH_REASON
from translate.chat.request import translate_request
from translate.chat.stream import ChatCompletionStream
from translate.claude_stream import ClaudeProtocolError
from translate.errors import Kind, OpenAIError, openai_error
from translate.request_body import decode_object
from translate.turn import Turn

pytestmark = pytest.mark.skipif(not MESSAGES.exists(), reason=f"the shared corpus is not at {CORPUS}")


def failures() -> list[Any]:
    """Return (status, Anthropic's error type) of every recorded error body."""
    found = []
    for path in sorted(MESSAGES.glob("*.json")) if MESSAGES.exists() else []:
        response = load(path)
        if response["status"] >= 400:
            body = response.get("body")
            error = body.get("error", body) if isinstance(body, dict) else {}
            found.append(pytest.param(response["status"], error.get("type"), id=path.stem))
    return found


def broken_streams() -> list[Any]:
    """Return the events of every recorded stream that an error event ends."""
    found = []
    for path in sorted(MESSAGES.glob("*.json")) if MESSAGES.exists() else []:
        events = events_of_sse(load(path).get("sse", ""))
        if any(event["type"] == "error" for event in events):
            found.append(pytest.param(events, id=path.stem))
    return found


def test_the_corpus_is_all_there() -> None:
    counts = {"answers": len(exchanges()), "failures": len(failures()), "broken": len(broken_streams())}

    assert counts["answers"] >= 74
    assert counts["failures"] >= 11
    assert counts["broken"] >= 3


@pytest.mark.parametrize("events", exchanges())
def test_usage_adds_up_to_what_was_recorded(events: list[dict[str, Any]]) -> None:
    counts: dict[str, Any] = dict(events[0]["message"]["usage"])
    counts |= {name: count for name, count in (events[-1].get("usage") or {}).items() if count is not None}
    read, written = (counts.get(f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))

    usage = answered(events).usage

    assert usage.prompt_tokens == counts["input_tokens"] + read + written
    assert usage.completion_tokens == counts["output_tokens"]
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == read


@pytest.mark.parametrize("events", exchanges())
def test_the_reason_is_the_tables(events: list[dict[str, Any]]) -> None:
    assert answered(events).choices[0].finish_reason == FINISH_REASON[events[-1]["delta"]["stop_reason"]]


@pytest.mark.parametrize("events", broken_streams())
def test_a_stream_that_an_error_ends_never_looks_like_success(events: list[dict[str, Any]]) -> None:
    stream = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True)
    chunks = [chunk for event in events for chunk in stream.feed(event)]

    assert all(choice.finish_reason is None for chunk in chunks for choice in chunk.choices)
    assert all(chunk.usage is None for chunk in chunks)
    with pytest.raises(ClaudeProtocolError):
        stream.feed_eof()


@pytest.mark.parametrize(("status", "kind"), failures())
def test_a_recorded_error_is_a_valid_error_of_the_same_class(
    status: int,
    kind: Kind,
    validator: Any,  # noqa: F811
) -> None:
    error = openai_error(kind_of(status))

    assert validator.body("ErrorResponse", json.loads(error.body())) == []
    # Anthropic's own status for a full house is none of OpenAI's.
    assert error.status == (503 if status == 529 else status)
    if kind and status == error_status(kind):
        assert openai_error(kind).status == error.status


@pytest.mark.parametrize(("body", "status"), requests())
def test_a_recorded_request_is_a_turn_or_a_valid_error(
    body: bytes,
    status: int,
    validator: Any,  # noqa: F811
) -> None:
    result: Turn | OpenAIError
    try:
        result = translate_request(decode_object(body)).turn
    except OpenAIError as error:
        result = error

    if isinstance(result, OpenAIError):
        assert validator.body("ErrorResponse", json.loads(result.body())) == []
        assert 400 <= result.status < 500
    else:
        assert result.messages[-1].role == "user"
