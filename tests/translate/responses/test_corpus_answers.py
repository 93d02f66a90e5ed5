"""Recorded answers of Claude's as responses: strictly OpenAI's, and nothing of them lost."""

import json
from typing import Any

import msgspec
import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.translate.responses.test_generated_answers import rebuilt
from tests.translate.responses.test_stream import machine
from tests.translate.test_corpus_answers import broken_streams, failures
from tests.translate.test_corpus_tools import (
    CORPUS,
    MESSAGES,
    exchanges,
    recorded_calls,
    validator,  # noqa: F401 — a fixture
)
from translate import sse
from translate.chat.finish_reason import FINISH_REASON
from translate.claude_stream import ClaudeProtocolError
from translate.errors import Kind, openai_error
from translate.responses.fold import fold
from translate.responses.reasoning import unpack
from translate.responses.stream import INCOMPLETE
from translate.responses.wire import ResponseEvent

pytestmark = pytest.mark.skipif(not MESSAGES.exists(), reason=f"the shared corpus is not at {CORPUS}")

SHOWN = {"show_summary": True, "show_encrypted": True}


def respond(recorded: list[dict[str, Any]], **options: Any) -> list[ResponseEvent]:
    stream = machine(**options)
    events = [event for raw in recorded for event in stream.feed(raw)]
    stream.feed_eof()
    return events


def output(recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(msgspec.to_builtins(fold(respond(recorded, **SHOWN)))["output"])


def written(recorded: list[dict[str, Any]], kind: str, field: str) -> list[str]:
    """Return what was written in each block of a kind."""
    blocks: dict[int, str] = {}
    for event in recorded:
        match event:
            case {"type": "content_block_start", "content_block": {"type": type} as block, "index": index} if (
                type == kind
            ):
                blocks[index] = block.get(field) or ""
            case {"type": "content_block_delta", "delta": delta, "index": index} if index in blocks:
                blocks[index] += delta.get(field, "")
    return list(blocks.values())


@pytest.mark.parametrize("shown", [{}, SHOWN], ids=["plain", "with reasoning"])
@pytest.mark.parametrize("recorded", exchanges())
def test_events_and_body_are_strictly_openais(
    recorded: list[dict[str, Any]],
    shown: dict[str, bool],
    validator: Any,  # noqa: F811
) -> None:
    events = respond(recorded, **shown)

    streamed = sse.stream_bytes(map(sse.event, events)).decode()
    assert validator.sse("ResponseStreamEvent", streamed) == []
    assert validator.body("Response", json.loads(msgspec.json.encode(fold(events)))) == []


@pytest.mark.parametrize("recorded", exchanges())
def test_text_is_what_was_recorded(recorded: list[dict[str, Any]]) -> None:
    parts = [part for item in output(recorded) if item["type"] == "message" for part in item["content"]]

    text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    assert text == "".join(written(recorded, "text", "text"))


@pytest.mark.parametrize("recorded", exchanges())
def test_calls_are_what_was_recorded(recorded: list[dict[str, Any]]) -> None:
    calls = [item for item in output(recorded) if item["type"] == "function_call"]

    assert [(call["call_id"], call["name"], call["arguments"]) for call in calls] == recorded_calls(recorded)


@pytest.mark.parametrize("recorded", exchanges())
def test_thinking_is_what_was_recorded_and_comes_back_whole(recorded: list[dict[str, Any]]) -> None:
    items = [item for item in output(recorded) if item["type"] == "reasoning"]
    summaries = [part["text"] for item in items for part in item["summary"]]
    sealed = [item["encrypted_content"] for item in items if item["encrypted_content"]]

    assert summaries == [text for text in written(recorded, "thinking", "thinking") if text]
    blocks = [unpack(text.removeprefix("sealed:").encode()) or {} for text in sealed]
    signatures = [block["signature"] for block in blocks if block["type"] == "thinking"]
    assert signatures == [text for text in written(recorded, "thinking", "signature") if text]
    hidden = [block["data"] for block in blocks if block["type"] == "redacted_thinking"]
    assert hidden == written(recorded, "redacted_thinking", "data")


@pytest.mark.parametrize("recorded", exchanges())
def test_the_status_is_the_tables(recorded: list[dict[str, Any]]) -> None:
    response = fold(respond(recorded))

    why = INCOMPLETE.get(FINISH_REASON[recorded[-1]["delta"]["stop_reason"]])
    assert response.status == ("incomplete" if why else "completed")
    assert (response.incomplete_details.reason if response.incomplete_details else None) == why


@pytest.mark.parametrize("recorded", exchanges())
def test_usage_adds_up_to_what_was_recorded(recorded: list[dict[str, Any]]) -> None:
    counts: dict[str, Any] = dict(recorded[0]["message"]["usage"])
    counts |= {name: count for name, count in (recorded[-1].get("usage") or {}).items() if count is not None}
    read, made = (counts.get(f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))

    usage = msgspec.to_builtins(fold(respond(recorded)))["usage"]

    assert usage["input_tokens"] == counts["input_tokens"] + read + made
    assert usage["input_tokens_details"] == {"cached_tokens": read, "cache_write_tokens": made}
    assert usage["output_tokens"] == counts["output_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("recorded", exchanges())
def test_the_deltas_put_together_are_the_body(recorded: list[dict[str, Any]]) -> None:
    events = respond(recorded, **SHOWN)

    assert rebuilt(events) == msgspec.to_builtins(fold(events))["output"]


@pytest.mark.parametrize("recorded", exchanges())
def test_openais_own_sdk_puts_the_same_body_together(recorded: list[dict[str, Any]]) -> None:
    events = respond(recorded, **SHOWN)
    read = TypeAdapter[Any](ResponseStreamEvent)
    state: Any = ResponseStreamState(text_format=omit, input_tools=omit)

    told: list[Any] = []
    for event in events:
        parsed = read.validate_json(msgspec.json.encode(event))
        assert parsed.type == sse.type_of(event)
        told += state.handle_event(parsed)

    response = told[-1].response
    folded = fold(events)
    assert [item.id for item in response.output] == [item.id for item in folded.output]
    assert [item.arguments for item in response.output if item.type == "function_call"] == [
        item["arguments"] for item in output(recorded) if item["type"] == "function_call"
    ]
    assert response.output_text == "".join(written(recorded, "text", "text"))
    snapshots = [event.snapshot for event in told if event.type == "response.function_call_arguments.delta"]
    assert snapshots[-1:] == [arguments for _, _, arguments in recorded_calls(recorded)][-1:]


@pytest.mark.parametrize("recorded", broken_streams())
def test_a_stream_that_an_error_ends_never_looks_like_success(
    recorded: list[dict[str, Any]],
    validator: Any,  # noqa: F811
) -> None:
    stream = machine()
    events = [event for raw in recorded for event in stream.feed(raw)]
    with pytest.raises(ClaudeProtocolError):
        stream.feed_eof()
    events += stream.failed(openai_error("overloaded_error"))

    assert [sse.type_of(event) for event in events][-2:] == ["error", "response.failed"]
    assert "response.completed" not in [sse.type_of(event) for event in events]
    streamed = sse.stream_bytes(map(sse.event, events)).decode()
    assert validator.sse("ResponseStreamEvent", streamed) == []


@pytest.mark.parametrize(("status", "kind"), failures())
def test_every_recorded_failure_can_be_told(
    status: int,
    kind: Kind | None,
    validator: Any,  # noqa: F811
) -> None:
    events = machine().failed(openai_error(kind or "api_error"))

    streamed = sse.stream_bytes(map(sse.event, events)).decode()
    assert status >= 400
    assert validator.sse("ResponseStreamEvent", streamed) == []
