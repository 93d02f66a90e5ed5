"""A chat completion's choices are answered as its request asks."""

import json
from typing import Any

import pytest

from tests.translate.chat.test_stream import START, end, text
from translate.chat.answer import chat_streams
from translate.chat.completion import fold
from translate.chat.request import translate_request
from translate.request_body import decode_object

CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def answered(response_format: dict[str, Any], *deltas: str) -> str | None:
    """Return the content of an answer of these deltas."""
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "as JSON"}],
        "response_format": response_format,
    }
    (stream,) = chat_streams(translate_request(decode_object(json.dumps(body).encode())), id="chatcmpl-1", created=1)
    chunks = [chunk for event in [START, *text(*deltas), end()] for chunk in stream.feed(event)]
    return fold(chunks).choices[0].message.content


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


@pytest.mark.parametrize("asked", [{"type": "json_object"}, json_schema({"type": "object"})], ids=["any", "open"])
def test_a_fence_around_json_that_an_instruction_asked_for_is_taken_off(asked: dict[str, Any]) -> None:
    assert answered(asked, "```json\n", '{"a": 1}', "\n```") == '{"a": 1}'


@pytest.mark.parametrize("asked", [{"type": "text"}, json_schema(CLOSED)], ids=["text", "closed"])
def test_without_a_json_instruction_the_text_is_not_changed(asked: dict[str, Any]) -> None:
    assert answered(asked, "```json\n", "{}", "\n```") == "```json\n{}\n```"
