"""Recorded answers of Anthropic's, text only, played through the whole of Understudy: what comes out is OpenAI's."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rehearsal import Reply
from tests import openai_document
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import ROOT, Proxy
from tests.translate.as_documented import Document

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS", ROOT.parent / "shared" / "corpus"))
ENDPOINT = "https://api.openai.com/v1/chat/completions"
OTHER_THAN_TEXT = ("tool", "thinking", "block:", "server", "mcp", "structured", "image", "pdf", "document", "citations")
FINISH_REASON = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content_filter"}


def is_text_only(exchange: dict[str, Any]) -> bool:
    return not any(word in tag for tag in exchange["tags"] for word in OTHER_THAN_TEXT)


def exchanges() -> Iterator[Any]:
    found = False
    for path in sorted((CORPUS / "anthropic.messages").glob("*.json")):
        exchange = json.loads(path.read_text(encoding="utf-8"))
        if is_text_only(exchange):
            found = True
            yield pytest.param(exchange, id=path.stem[:60])
    if not found:
        reason = f"there is no corpus at {CORPUS}; UNDERSTUDY_CORPUS names another place"
        yield pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def validator() -> Any:
    """The corpus's own check against OpenAI's specification, with no deviation forgiven."""
    return Document(openai_document.validator())


def recorded_events(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    lines = exchange["response"].get("sse", "").splitlines()
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


def reply_of(exchange: dict[str, Any]) -> Reply:
    """Return what plays a recording. A whole message is made a stream, since Claude Code asks for nothing else."""
    response = exchange["response"]
    if "sse" in response:
        return Reply.recorded(response["sse"])
    if response["status"] != 200:
        return Reply.json(response["body"], status=response["status"])
    return Reply(text=text_of(exchange), stop_reason=stop_reason_of(exchange), usage=response["body"]["usage"])


def text_of(exchange: dict[str, Any]) -> str:
    """Return the text of a recorded answer."""
    body = exchange["response"].get("body") or {}
    blocks = [block.get("text", "") for block in body.get("content", [])]
    deltas = [event["delta"].get("text", "") for event in recorded_events(exchange) if "delta" in event]
    return "".join([*blocks, *deltas])


def stop_reason_of(exchange: dict[str, Any]) -> str | None:
    """Return the recorded stop reason, None for what ended in an error."""
    body = exchange["response"].get("body") or {}
    reasons = [event["delta"].get("stop_reason") for event in recorded_events(exchange) if "delta" in event]
    found: str | None = next((reason for reason in [body.get("stop_reason"), *reasons] if reason), None)
    return found


def usage_of(exchange: dict[str, Any]) -> dict[str, int]:
    """Return the recorded usage: what came last for each field."""
    usage: dict[str, int] = dict((exchange["response"].get("body") or {}).get("usage") or {})
    for event in recorded_events(exchange):
        usage |= (event.get("message") or {}).get("usage") or event.get("usage") or {}
    return usage


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("exchange", list(exchanges()))
def test_a_recorded_answer_comes_out_as_openais(
    exchange: dict[str, Any], stream: bool, proxy: Proxy, cloud: Cloud, validator: Any
) -> None:
    cloud.script(lambda _: reply_of(exchange))
    request: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    if stream:
        request["stream_options"] = {"include_usage": True}

    with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
        answer = client.post(ENDPOINT, json=request)

    if "error" in exchange["tags"]:
        assert answer.status_code >= 400
        assert validator.body("ErrorResponse", answer.json()) == []
        return
    assert answer.status_code == 200
    if stream:
        assert validator.sse("CreateChatCompletionStreamResponse", answer.text) == []
        assert answer.text.endswith("data: [DONE]\n\n")
        *events, _ = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        chunks = [ChatCompletionChunk.model_validate_json(event, strict=True) for event in events]
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
        usage = chunks[-1].usage
    else:
        assert validator.body("CreateChatCompletionResponse", answer.json()) == []
        completion = ChatCompletion.model_validate_json(answer.text, strict=True)
        text = completion.choices[0].message.content or ""
        reasons, usage = [completion.choices[0].finish_reason], completion.usage
    recorded = usage_of(exchange)
    cached = [recorded.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    assert text == text_of(exchange)
    assert reasons == [FINISH_REASON[stop_reason_of(exchange) or ""]]
    assert usage is not None
    assert usage.prompt_tokens == recorded["input_tokens"] + sum(cached)
    if "stream" in exchange["tags"]:  # what was made a stream for the occasion counts its own tokens
        assert usage.completion_tokens == recorded["output_tokens"]
