"""What Understudy sends has every key that OpenAI's wire carries today."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.translate.chat.test_stream import START, Event, call, chunks, delta, end, start, stop, text, thinking
from tests.translate.responses.test_stream import respond
from tests.translate.responses.test_stream_searches import CITED, PAGE, search
from tests.translate.wire_keys import CORPUS, TABLE, objects, table
from translate.chat.completion import fold
from translate.completions import CompletionStream, fold_completion
from translate.errors import openai_error
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP
from translate.obfuscation import padded_chunk, padded_event
from translate.request_body import decode_object
from translate.responses.fold import body_of
from translate.responses.fold import fold as fold_response
from translate.responses.mcp import LISTED, ListedTool
from translate.responses.request import read_request, translate_response_request
from translate.usage import usage_from

FACTS: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))

NEVER_SENT = ("code_interpreter", "file_search", "image_generation")
"""The tools of OpenAI's that are refused here. An answer has nothing of them."""

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f", "parameters": SCHEMA},
    {"type": "function", "name": "late", "parameters": SCHEMA, "defer_loading": True},
    {"type": "tool_search"},
    {"type": "web_search"},
    {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example/mcp", "require_approval": "never"},
]


def mcp(index: int) -> list[Event]:
    tools = [{"name": "look", "input_schema": SCHEMA}]
    return [
        start({"type": LISTED, "server_name": "crm", "tools": tools}, index),
        stop(index),
        start({"type": "mcp_tool_use", "id": "m", "server_name": "crm", "name": "look"}, index + 1),
        delta({"type": "input_json_delta", "partial_json": "{}"}, index + 1),
        stop(index + 1),
        start({"type": "mcp_tool_result", "tool_use_id": "m", "content": "Found."}, index + 2),
        stop(index + 2),
    ]


def chat_answers() -> Iterator[Any]:
    for answer in (text("Hello."), call("t1", "f", '{"a":', "1}"), [*text("I look."), *call("t1", "f", "{}", index=1)]):
        told = chunks([START, *answer, end()], include_usage=True)
        yield fold(told)
        yield from map(padded_chunk, told)


def legacy_answers() -> Iterator[Any]:
    legacy = CompletionStream(id="cmpl-1", created=1, model="gpt-4o", echoes=[""], has_usage=False)
    told = legacy.feed(chunks([START, *text("Hello."), end()]))
    yield from told
    yield fold_completion(told, usage_from({}))


def response_answers() -> Iterator[Any]:
    asked = {"model": "gpt-5", "input": "Hi", "tools": TOOLS, "include": ["reasoning.encrypted_content"]}
    options = translate_response_request(
        read_request(decode_object(json.dumps(asked).encode())),
        DEFAULT_MODEL_MAP,
        DEFAULT_MODEL,
        mcp_tools={"crm": [ListedTool("look", "", SCHEMA)]},
        open_reasoning=lambda sealed: None,
    ).options
    cited = text("So it is.", index=9)
    cited.insert(1, delta({"type": "citations_delta", "citation": CITED}, 9))
    answer = [*thinking("Hm.", "sig"), *search([PAGE], index=1), *mcp(3), *cited]
    calls = [*call("t1", "f", '{"a":', "1}", index=10), *call("t2", "late", "{}", index=11)]
    told = respond(
        [START, *answer, *calls, end("tool_use")], echo=options.echo, show_encrypted=True, tools=options.tools
    )
    yield body_of(fold_response(told))
    yield from map(padded_event, told)


def sent() -> dict[str, list[set[str]]]:
    """Return the keys of every object that is sent, by kind."""
    found: dict[str, list[set[str]]] = {}
    values = [*chat_answers(), *legacy_answers(), *response_answers()]
    bodies = [json.loads(msgspec.json.encode(value)) for value in values]
    for body in [*bodies, json.loads(openai_error("api_error").body())]:
        for kind, value in objects(body):
            found.setdefault(kind, []).append(set(value))
    return found


SENT = sent()


@pytest.mark.parametrize("kind", [kind for kind in FACTS if not any(tool in kind for tool in NEVER_SENT)])
def test_what_is_sent_has_the_keys_that_openai_sends(kind: str) -> None:
    missing = [set(FACTS[kind]["keys"]) - keys for keys in SENT[kind]]

    assert missing == [set()] * len(missing)


@pytest.mark.skipif(not (CORPUS / "openai.chat").exists(), reason=f"the shared corpus is not at {CORPUS}")
def test_the_table_is_what_the_recordings_say() -> None:
    assert table(CORPUS) == FACTS
