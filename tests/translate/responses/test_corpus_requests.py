"""Requests that real apps and SDKs sent to the Responses API: each becomes a Turn or is refused in OpenAI's shape."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.translate.test_corpus_tools import validator  # noqa: F401 — a fixture
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.responses.request import TranslatedResponse, needed, read_request, translate_response_request

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus")
RESPONSES = CORPUS / "openai.responses"

# What OpenAI answered and we refuse, because there is no counterpart; the first of them that the request has.
REFUSED = {
    "prompt",
    "include[0]",
    "tools[0].type",
    "input[2].type",
    "input[1].type",
    "input[4].content[0].file_id",
}

pytestmark = pytest.mark.skipif(not RESPONSES.exists(), reason=f"the shared corpus is not at {CORPUS}")


def requests() -> list[Any]:
    found = []
    for path in sorted(RESPONSES.glob("*.json")) if RESPONSES.exists() else []:
        exchange = json.loads(path.read_text(encoding="utf-8"))
        if exchange["request"]["body"] is not None:
            found.append(pytest.param(exchange["request"]["body"], exchange["response"]["status"], id=path.stem))
    return found


def translated(body: dict[str, Any]) -> TranslatedResponse | OpenAIError:
    """Translate a request, with what would be stored of the conversation it goes on with."""
    encoded = json.dumps(body).encode()
    try:
        read = read_request(decode_object(encoded))
        asked = needed(read)
    except OpenAIError as error:
        return error
    previous: list[dict[str, Any]] | None = [] if asked.conversation_id else None
    if asked.previous_response_id:
        answers = {item.get("call_id") for item in body["input"] if item.get("type") == "function_call_output"}
        call = {"type": "function_call", "name": "get_weather", "arguments": "{}"}
        said = {"role": "user", "content": "What is the weather?"}
        previous = [said, *({**call, "call_id": id} for id in answers)]
    try:
        return translate_response_request(read, previous=previous, open_reasoning=lambda _: None)
    except OpenAIError as error:
        return error


def test_the_corpus_is_all_there() -> None:
    assert len(requests()) >= 50


@pytest.mark.parametrize(("body", "status"), requests())
def test_a_recorded_request_is_understood_or_refused_by_name(
    body: dict[str, Any],
    status: int,
    validator: Any,  # noqa: F811
) -> None:
    result = translated(body)

    if isinstance(result, OpenAIError):
        assert validator.body("ErrorResponse", json.loads(result.body())) == []
        assert result.status == 400
        assert status == 400 or result.param in REFUSED
    else:
        assert result.turn.messages[-1].role == "user"
        assert [message.role for message in result.turn.messages[:-1:2]] == ["user"] * (len(result.turn.messages) // 2)


def test_most_recorded_requests_are_understood() -> None:
    results = [translated(param.values[0]) for param in requests()]

    assert sum(isinstance(result, TranslatedResponse) for result in results) >= 30


def test_an_invalid_schema_is_refused_as_openai_does() -> None:
    path = next(RESPONSES.glob("*invalid*"), None) or next(RESPONSES.glob("json__error-400_structured-output*"))
    exchange = json.loads(path.read_text(encoding="utf-8"))

    result = translated(exchange["request"]["body"])

    assert isinstance(result, OpenAIError)
    recorded = exchange["response"]["body"]["error"]
    ours = json.loads(result.body())["error"]
    assert {key: ours[key] for key in ("param", "code", "type")} == {
        key: recorded[key] for key in ("param", "code", "type")
    }
