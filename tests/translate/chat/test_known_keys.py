"""No key of a chat completion's request vanishes: it is used, refused by name, or reported."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sizes import sample
from tests.translate.test_corpus_requests import CHAT
from tests.translate.unknown_keys import Told, places, without_a_word
from translate.chat.known_keys import INSIDE, MESSAGES, PARTS
from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS, Fate
from translate.chat.request import Translated, translate_request
from translate.completions import COMPLETION_PARAMETERS, translate_completion_request
from translate.errors import OpenAIError
from translate.known_keys import BREAKPOINTS, Ignored, below
from translate.turn import to_json

PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "description": "b"}},
    "required": ["a"],
    "additionalProperties": False,
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DETAIL = {"type": "reasoning.text", "index": 0, "text": "Hm", "signature": "s"}
HIDDEN = {"type": "reasoning.encrypted", "index": 1, "data": "d"}
ROLES: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be kind."}], "name": "s"},
    {"role": "developer", "content": "Be brief.", "name": "d"},
    {
        "role": "user",
        "name": "ann",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "aGVsbG8="}},
        ],
    },
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "I look."}, {"type": "refusal", "refusal": "No."}],
        "refusal": "No more.",
        "reasoning_details": [DETAIL, HIDDEN],
        "tool_calls": [CALL],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "seen"}]},
]
FUNCTION = {"name": "f", "description": "does f", "parameters": SCHEMA, "strict": True}
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": FUNCTION}], "parallel_tool_calls": False}
JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "description": "d", "schema": SCHEMA, "strict": True},
}
PLACE = {"type": "approximate", "approximate": {"city": "a", "region": "b", "country": "DE", "timezone": "c"}}


def asking(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    told = [*messages] or [{"role": "user", "content": "Hi, in JSON."}]
    return {"model": "claude-sonnet-4-5", "messages": told, **fields}


REQUESTS: list[dict[str, Any]] = [
    asking(*ROLES, **TOOLS),
    asking(**TOOLS, tool_choice={"type": "function", "function": {"name": "f"}}),
    asking(
        **TOOLS,
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    ),
    asking(
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": "b"}'}},
        {"role": "function", "name": "f", "content": "done"},
        functions=[FUNCTION],
        function_call={"name": "f"},
    ),
    asking(response_format=JSON_SCHEMA),
    asking(response_format={"type": "json_object"}),
    asking(response_format={"type": "text"}),
    asking(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}, stop=["a"], n=2),
    asking(web_search_options={"user_location": PLACE, "search_context_size": "medium"}),
    asking(thinking={"type": "enabled", "budget_tokens": 2048, "display": "summarized"}, max_completion_tokens=9000),
    asking(temperature=0.5, top_k=3, max_tokens=9, user="u", service_tier="auto", store=True, metadata={"a": "b"}),
    asking(top_p=0.5, reasoning_effort="none", safety_identifier="s"),
]
"""Valid requests that have every shape of Chat Completions between them."""

LEGACY = [
    {"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "stream": True, "stream_options": {"include_usage": True}}
]


def told(request: dict[str, Any]) -> Told:
    result = translate_request(request)
    # The app's metadata are stored, and not sent to Claude.
    used = [to_json(result.turn), result.request.metadata]
    return Told(result.ignored, json.dumps(used, ensure_ascii=False))


def recorded() -> list[dict[str, Any]]:
    """Return the requests of the corpus that are answered here."""
    found = []
    for path in sorted(CHAT.glob("*.json")) if CHAT.exists() else []:
        body = json.loads(path.read_text(encoding="utf-8"))["request"]["body"]
        if isinstance(body, dict) and not isinstance(outcome(body), tuple):
            # A tool that may not be called is not offered, so the keys of its schema are of no use.
            found.append({name: value for name, value in body.items() if name != "tool_choice"})
    return found


def outcome(request: dict[str, Any]) -> Any:
    """Return what a request asks of Claude, or the error that it gets."""
    try:
        result = translate_request(request)
    except OpenAIError as error:
        return (error.message, error.param)
    return [to_json(result.turn), shown(result)]


def shown(result: Translated) -> Any:
    """Return what a request says of the answer's form."""
    asked = result.request
    options = asked.stream_options
    return [
        *(asked.model, asked.stream, asked.n, asked.store, asked.metadata, result.cuts, result.legacy_functions),
        *(options and options.include_usage, result.unfence, result.ignored),
    ]


def test_no_unknown_key_vanishes() -> None:
    count = sample(5000, large=10_000)

    assert without_a_word([*REQUESTS, *recorded()], told, count, seed=1) == []


def test_no_unknown_key_of_the_legacy_api_vanishes() -> None:
    def ask(request: dict[str, Any]) -> Told:
        result = translate_completion_request(request)
        return Told(result.ignored, json.dumps([to_json(chat.turn) for chat in result.chats], ensure_ascii=False))

    assert without_a_word(LEGACY, ask, 200, seed=2) == []
    assert set(COMPLETION_PARAMETERS) >= set(LEGACY[0])


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_of_each_shape_has_no_key_without_effect_but_the_names_of_messages(request_: dict[str, Any]) -> None:
    assert list(translate_request(request_).ignored) == []


def test_the_requests_have_every_shape() -> None:
    every = [value for request in REQUESTS for _, value in places(request)]
    kinds = {value.get("type") for value in every}
    named = {name for request in REQUESTS for name in request}

    assert {value["role"] for value in every if "role" in value} == set(MESSAGES)
    assert set(PARTS) <= kinds
    assert named >= {name for name, row in CHAT_COMPLETION_PARAMETERS.items() if row.fate is Fate.HONOURED} - {
        "session_id"  # api/endpoints/sessions.py reads it before
    }
    assert set(INSIDE) <= named


# Keys that are read, though a change of the value alone makes no difference.
NO_DIFFERENCE = {
    "stream_options.include_obfuscation",  # the table of parameters says why
    "response_format.json_schema.name",  # a label of the app's own
    "response_format.json_schema.strict",  # Claude is held to a schema that is not strict, too
    "messages[3].tool_calls[0].type",  # a call that has a function is one of a function
    "messages[3].reasoning_details[0].index",  # the order of the list decides
    "messages[3].reasoning_details[1].index",
}


def leaves(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    for path, holder in places(request):
        for name, value in holder.items():
            if not isinstance(value, (dict, list)):
                yield below(path, name), holder, name


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_every_key_that_is_not_reported_makes_a_difference(number: int) -> None:
    silent = []
    for path, _, _ in leaves(REQUESTS[number]):
        request = copy.deepcopy(REQUESTS[number])
        before = outcome(request)
        holder, name = next((holder, name) for where, holder, name in leaves(request) if where == path)
        holder[name] = not holder[name] if isinstance(holder[name], bool) else "changed"
        if outcome(request) == before and path not in NO_DIFFERENCE:
            silent.append(path)

    assert silent == []


@pytest.mark.parametrize("name", ["cache_control", "prompt_cache_breakpoint"])
def test_cache_breakpoints_are_reported_with_their_reason_wherever_they_are(name: str) -> None:
    request = asking(*copy.deepcopy(ROLES), **copy.deepcopy(TOOLS))
    mark = {"type": "ephemeral"}
    request["messages"][0]["content"][0][name] = mark
    request["messages"][2][name] = mark
    request["tools"][0][name] = mark
    request["tools"][0]["function"][name] = mark

    result = translate_request(request)

    places_of = ["messages[0].content[0]", "messages[2]", "tools[0]", "tools[0].function"]
    assert set(result.ignored) == {f"{place}.{name}" for place in places_of}
    assert {path.why for path in result.ignored if isinstance(path, Ignored)} == {BREAKPOINTS}
    assert name not in json.dumps(to_json(result.turn))


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "name": "c"}]},
            "messages[1].name",
        ),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"user": "a", "safety_identifier": "b"}, "user"),
        ({"functions": [FUNCTION], "tool_choice": "none"}, "tool_choice"),
        ({**TOOLS, "function_call": {"name": "f"}}, "function_call"),
    ],
)
def test_a_known_key_without_effect_is_reported(fields: dict[str, Any], ignored: str) -> None:
    assert translate_request({**asking(), **fields}).ignored == (ignored,)


def test_thinking_that_claude_did_not_sign_is_reported() -> None:
    unsigned = {"type": "reasoning.text", "index": 0, "text": "Hm"}
    said = {"role": "assistant", "content": "b", "reasoning_details": [DETAIL, unsigned], "reasoning_content": "Hm"}

    result = translate_request(asking({"role": "user", "content": "a"}, said, {"role": "user", "content": "c"}))

    assert result.ignored == ("messages[1].reasoning_details[1]", "messages[1].reasoning_content")
