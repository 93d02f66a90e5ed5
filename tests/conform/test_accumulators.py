"""What openai-python makes of an answer."""

import importlib.util
import json
from typing import Any

import pytest

from conform.accumulators import check_with_openai, is_installed
from conform.exchange import Exchange


def chunks(*deltas: dict[str, Any]) -> Exchange:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    parts: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    parts[-1]["finish_reason"] = "stop"
    text = "".join(f"data: {json.dumps(head | {'choices': [part]})}\n\n" for part in parts)
    headers = {"content-type": "text/event-stream"}
    return Exchange(name="x", dialect="chat", headers=headers, text=f"{text}data: [DONE]\n\n", request={"stream": True})


def test_a_stream_that_it_reads_as_it_was_sent_is_fine() -> None:
    exchange = chunks({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {})

    assert list(check_with_openai(exchange)) == []


def test_what_makes_it_raise_is_found() -> None:
    calls = [{"index": 0, "function": {"arguments": "{}"}}]
    exchange = chunks({"role": "assistant"}, {"tool_calls": [{"id": "call_1"}]}, {"tool_calls": calls})

    (problem,) = check_with_openai(exchange)

    assert problem.place == "openai-python"
    assert problem.came.startswith("it raises ")


def test_an_error_is_what_it_expects_of_an_error() -> None:
    body = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}
    headers = {"content-type": "application/json"}

    good = Exchange(name="x", dialect="chat", status=400, headers=headers, text=json.dumps(body))
    bad = Exchange(name="x", dialect="chat", status=400, headers=headers, text="no")

    assert list(check_with_openai(good)) == []
    assert [problem.came for problem in check_with_openai(bad)] == ['it finds no error in "no"']


def test_nothing_is_checked_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert not is_installed()
    assert list(check_with_openai(chunks({"tool_calls": [{}]}))) == []
