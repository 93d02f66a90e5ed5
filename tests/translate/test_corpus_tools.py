"""Recorded answers of Claude's that call tools, think or refuse, in OpenAI's words."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import openai_document
from tests.translate.as_documented import Document
from translate import sse
from translate.blocks import BLOCKS
from translate.chat.completion import fold
from translate.chat.stream import ChatCompletionStream
from translate.chat.wire import ChatCompletion

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
MESSAGES = CORPUS / "anthropic.messages"

pytestmark = pytest.mark.skipif(not MESSAGES.exists(), reason=f"the shared corpus is not at {CORPUS}")


def events_of_sse(text: str) -> list[dict[str, Any]]:
    lines = [line[len("data:") :].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def events_of_body(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the stream that a whole message would have been."""
    yield {"type": "message_start", "message": {**body, "content": []}}
    for index, block in enumerate(body["content"]):
        start = {key: value for key, value in block.items() if key not in ("input", "thinking", "signature")}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        if "input" in block:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": body["stop_reason"]}, "usage": body["usage"]}


def load(path: Path) -> dict[str, Any]:
    """Return the response of a recorded exchange."""
    return dict(json.loads(path.read_text(encoding="utf-8"))["response"])


def exchanges() -> list[Any]:
    found = []
    for path in sorted(MESSAGES.glob("*.json")) if MESSAGES.exists() else []:
        response = load(path)
        body = response.get("body")
        if "sse" in response:
            events = events_of_sse(response["sse"])
        elif isinstance(body, dict) and body.get("type") == "message":
            events = list(events_of_body(body))
        else:
            continue
        if not any(event["type"] == "error" for event in events):
            found.append(pytest.param(first_message(events), id=path.stem))
    return found


def first_message(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events up to the stop reason: some recordings hold the messages of several turns."""
    end = next(index for index, event in enumerate(events) if event["type"] == "message_delta")
    return events[: end + 1]


def answered(events: list[dict[str, Any]]) -> ChatCompletion:
    stream = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True, show_reasoning=True)
    chunks = [chunk for event in events for chunk in stream.feed(event)]
    stream.feed_eof()
    return fold(chunks)


def recorded_calls(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (id, name, input as it was written) of each tool_use block."""
    calls: dict[int, list[str]] = {}
    for event in events:
        match event:
            case {"type": "content_block_start", "content_block": {"type": "tool_use"} as block, "index": index}:
                calls[index] = [block["id"], block["name"], ""]
            case {"type": "content_block_delta", "delta": {"partial_json": piece}, "index": index} if index in calls:
                calls[index][2] += piece
    return [(id, name, text or "{}") for id, name, text in calls.values()]


@pytest.mark.parametrize("events", exchanges())
def test_tool_calls_are_those_that_were_recorded(events: list[dict[str, Any]]) -> None:
    message = answered(events).choices[0].message

    calls = message.tool_calls if message.tool_calls is not msgspec.UNSET else []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == recorded_calls(events)


@pytest.mark.parametrize("events", exchanges())
def test_text_and_thinking_are_those_that_were_recorded(events: list[dict[str, Any]]) -> None:
    text = thinking = ""
    for event in events:
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "text":
            text += event["content_block"].get("text", "")
        text += event.get("delta", {}).get("text", "") if event["type"] == "content_block_delta" else ""
        thinking += event.get("delta", {}).get("thinking", "") if event["type"] == "content_block_delta" else ""

    message = answered(events).choices[0].message

    assert (message.content or "") == text
    assert (message.reasoning_content or "") == thinking


@pytest.fixture(scope="module")
def validator() -> Any:
    """The corpus's own check against OpenAI's specification, with no deviation forgiven but OpenAI's own."""
    return Document(openai_document.validator())


@pytest.mark.parametrize("events", exchanges())
def test_chunks_and_body_are_strictly_openais(events: list[dict[str, Any]], validator: Any) -> None:
    stream = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True)
    chunks = [chunk for event in events for chunk in stream.feed(event)]
    streamed = sse.stream_bytes([*map(sse.event, chunks), sse.DONE]).decode()

    assert validator.sse("CreateChatCompletionStreamResponse", streamed) == []
    assert validator.body("CreateChatCompletionResponse", msgspec.to_builtins(fold(chunks))) == []


@pytest.mark.parametrize("events", exchanges())
def test_every_block_of_the_recordings_has_a_fate(events: list[dict[str, Any]]) -> None:
    kinds = {event["content_block"]["type"] for event in events if event["type"] == "content_block_start"}

    assert kinds <= set(BLOCKS)
