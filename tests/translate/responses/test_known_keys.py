"""No key of a response's request vanishes: it is used, refused by name, or reported."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import sample
from tests.translate.responses.test_input_items import opened
from tests.translate.test_corpus_requests import CORPUS
from tests.translate.unknown_keys import Told, places, without_a_word
from translate.errors import OpenAIError
from translate.known_keys import BREAKPOINTS, Ignored
from translate.responses.input_items import ITEMS as ALL_ITEMS
from translate.responses.known_keys import INSIDE, ITEMS, PARTS
from translate.responses.mcp import ListedTool
from translate.responses.reasoning import pack, thinking_block
from translate.responses.request import TranslatedResponse, needed, read_request, translate_response_request
from translate.responses.tools import WEB_SEARCH
from translate.turn import to_json

RECORDED = CORPUS / "openai.responses"
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "description": "b"}},
    "required": ["a"],
    "additionalProperties": False,
}
SEALED = "sealed:" + pack(thinking_block("Hm", "s")).decode()
SUMMARY = "sealed:" + pack({"type": "text", "text": "It was said."}).decode()
FUNCTION = {
    "type": "function",
    "name": "f",
    "description": "does f",
    "parameters": SCHEMA,
    "strict": True,
    "allowed_callers": ["direct"],
    "defer_loading": True,
}
CUSTOM = {
    "type": "custom",
    "name": "c",
    "description": "does c",
    "format": {"type": "text"},
    "allowed_callers": ["direct"],
    "defer_loading": False,
}
SEARCH = {"type": "tool_search", "execution": "client", "description": "finds", "parameters": SCHEMA}
SERVER = {
    "type": "mcp",
    "server_label": "m",
    "server_url": "https://mcp.example/x",
    "authorization": "t",
    "headers": {"x-a": "b"},
    "allowed_tools": {"tool_names": ["t"], "read_only": False},
    "require_approval": "never",
}
PLACE = {"type": "approximate", "city": "a", "region": "b", "country": "DE", "timezone": "c"}
HI = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi, in JSON."}]}


def asking(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-4-5", "input": [*items] or [HI], **fields}


def call(kind: str, id: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "call_id": id, "id": f"i_{id}", "status": "completed", **fields}


CALLS: list[dict[str, Any]] = [
    HI,
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "H"}],
        "encrypted_content": SEALED,
    },
    call("function_call", "1", name="f", arguments='{"a": "b"}', namespace="n"),
    call("function_call_output", "1", output=[{"type": "input_text", "text": "o"}]),
    call("custom_tool_call", "2", name="c", input="x", namespace="n"),
    call("custom_tool_call_output", "2", output=[{"type": "input_text", "text": "o"}]),
    call("tool_search_call", "3", arguments={"a": "b"}, execution="client"),
    call("tool_search_output", "3", tools=[{**FUNCTION, "name": "g"}], execution="client"),
    {"type": "mcp_list_tools", "id": "l", "server_label": "m", "tools": [{"name": "t", "input_schema": SCHEMA}]},
    {"type": "mcp_call", "id": "mc", "server_label": "m", "name": "t", "arguments": "{}", "output": "o"},
    {"type": "mcp_call", "id": "md", "server_label": "m", "name": "t", "arguments": "{}", "error": "e"},
]
WORDS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {
        "type": "message",
        "id": "msg_0",
        "status": "completed",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": PNG, "detail": "auto"},
            {"type": "input_file", "filename": "a.txt", "file_data": "aGVsbG8="},
            {"type": "input_file", "filename": "a.pdf", "file_url": "https://example.com/a.pdf"},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []},
            {"type": "refusal", "refusal": "No."},
        ],
        "phase": "final_answer",
    },
    {"type": "agent_message", "content": [{"type": "encrypted_content", "encrypted_content": "Well."}]},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": SUMMARY},
    {"type": "configuration_update", "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}},
    {"type": "additional_tools", "role": "developer", "tools": [{**CUSTOM, "name": "later"}]},
    {"type": "item_reference", "id": "msg_stored"},
]
STORED = {"msg_stored": {"type": "message", "role": "user", "content": "Stored."}}
FORMAT = {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA, "strict": True}

REQUESTS: list[dict[str, Any]] = [
    asking(*CALLS),
    asking(*WORDS),
    asking(HI, {"type": "compaction_trigger"}),
    asking(tools=[FUNCTION, CUSTOM, SEARCH], parallel_tool_calls=False),
    asking(tools=[{"type": "namespace", "name": "n", "description": "d", "tools": [FUNCTION, CUSTOM]}]),
    asking(tools=[FUNCTION, CUSTOM], tool_choice={"type": "custom", "name": "c"}),
    asking(tools=[FUNCTION], tool_choice={"type": "function", "name": "f"}),
    asking(
        tools=[FUNCTION],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    ),
    asking(tools=[SERVER], tool_choice={"type": "mcp", "server_label": "m", "name": "t"}),
    asking(
        tools=[
            {
                "type": "web_search",
                "filters": {"allowed_domains": ["a.example"]},
                "user_location": PLACE,
                "search_context_size": "medium",
                "external_web_access": True,
            }
        ],
        tool_choice={"type": "web_search"},
        max_tool_calls=3,
    ),
    *(asking(tools=[{"type": kind, "user_location": PLACE}]) for kind in WEB_SEARCH[1:]),
    asking(text={"format": FORMAT, "verbosity": "medium"}),
    asking(text={"format": {"type": "json_object"}}),
    asking(text={"format": {"type": "text"}}),
    asking(reasoning={"effort": "low", "summary": "auto", "context": "auto", "mode": "standard"}, metadata={"a": "b"}),
    asking(thinking={"type": "enabled", "budget_tokens": 2048, "display": "summarized"}),
    asking(conversation={"id": "conv_1"}, stream=True, stream_options={"include_obfuscation": False}),
]
"""Valid requests that have every shape of the Responses API between them."""


def translated(request: dict[str, Any]) -> TranslatedResponse:
    return translate_response_request(
        read_request(request),
        open_reasoning=opened,
        previous=[],
        stored=STORED,
        mcp_tools={"m": [ListedTool("t", "", SCHEMA)]},
    )


def told(request: dict[str, Any]) -> Told:
    result = translated(request)
    # The app's metadata are kept with the response, and the headers for an MCP server are sent to it.
    servers = [dict(server.headers) for server in needed(read_request(request)).servers]
    used = [to_json(result.turn), result.request.metadata, servers]
    return Told(result.ignored, json.dumps(used, ensure_ascii=False))


def recorded() -> list[dict[str, Any]]:
    """Return the requests of the corpus that are answered here, without what must be looked up for them."""
    found = []
    for path in sorted(Path(RECORDED).glob("*.json")) if RECORDED.exists() else []:
        body = json.loads(path.read_text(encoding="utf-8"))["request"]["body"]
        # A tool that may not be called is not offered, so the keys of its schema are of no use.
        looked_up = ("previous_response_id", "conversation", "tool_choice")
        request = (
            {name: value for name, value in body.items() if name not in looked_up} if isinstance(body, dict) else {}
        )
        try:
            translated(request)
        except OpenAIError:
            continue
        found.append(request)
    return found


def test_no_unknown_key_vanishes() -> None:
    count = sample(5000, large=10_000)

    assert without_a_word([*REQUESTS, *recorded()], told, count, seed=3) == []


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_of_each_shape_has_no_key_without_effect(request_: dict[str, Any]) -> None:
    assert list(translated(request_).ignored) == []


def test_the_requests_have_every_shape() -> None:
    kinds = {value.get("type") for request in REQUESTS for _, value in places(request)}

    # A search that is over is reported as a whole.
    assert set(ITEMS) == set(ALL_ITEMS) - {"web_search_call"}
    assert kinds >= {*ITEMS, *PARTS, *WEB_SEARCH, "function", "custom", "namespace", "tool_search", "mcp"}
    assert {name for request in REQUESTS for name in request} >= set(INSIDE)


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"user": "a", "safety_identifier": "b"}, "user"),
        ({"reasoning": {"summary": "auto", "generate_summary": "detailed"}}, "reasoning.generate_summary"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"tools": [{**SERVER, "server_description": "d"}]}, "tools[0].server_description"),
        ({"input": [{**HI, "phase": "commentary"}]}, "input[0].phase"),
        ({"input": [{"type": "web_search_call", "id": "w", "action": {}}, HI]}, "input[0]"),
        ({"input": [HI, {**WORDS[6], "text": {"verbosity": "low"}}]}, "input[1].text.verbosity"),
        (
            {"input": [HI, {**WORDS[6], "reasoning": {"effort": "low", "summary": "auto"}}]},
            "input[1].reasoning.summary",
        ),
    ],
)
def test_a_known_key_without_effect_is_reported(fields: dict[str, Any], ignored: str) -> None:
    assert translated({**asking(), **fields}).ignored == (ignored,)


def test_cache_breakpoints_are_reported_with_their_reason() -> None:
    request = copy.deepcopy(asking(tools=[FUNCTION]))
    request["input"][0]["content"][0]["prompt_cache_breakpoint"] = {"mode": "explicit"}
    request["tools"][0]["cache_control"] = {"type": "ephemeral"}

    result = translated(request)

    assert result.ignored == ("input[0].content[0].prompt_cache_breakpoint", "tools[0].cache_control")
    assert {path.why for path in result.ignored if isinstance(path, Ignored)} == {BREAKPOINTS}
