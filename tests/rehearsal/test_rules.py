"""What the API refuses."""

from typing import Any

import pytest

from rehearsal.rules import refusals

GOOD: dict[str, Any] = {"model": "claude-x", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}
USER = {"role": "user", "content": "Hello"}


def strict(count: int, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Return the field with so many strict tools."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"tools": [{"name": f"f{n}", "strict": True, "input_schema": schema} for n in range(count)]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1, "top_p": 0.5, "stop_sequences": ["x"]},
        {"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "any"}},
        {"messages": [USER, CALL, {"role": "system", "content": []}, RESULT]},
        {"messages": [USER, {"role": "assistant", "content": "{"}]},
        strict(16, {"a": {"type": ["string", "null"]}}, []),
    ],
    ids=["the least", "sampling", "tools", "a row of role system before a result", "a prefill", "strict tools"],
)
def test_a_good_request_is_taken(fields: dict[str, Any]) -> None:
    assert list(refusals(GOOD | fields)) == []


BAD = {
    "model: Field required": {"model": None},
    "model: Input should be": {"model": 3},
    "max_tokens: Field required": {"max_tokens": None},
    "max_tokens: Input should be": {"max_tokens": "9"},
    "max_tokens: must be": {"max_tokens": 0},
    "temperature: range: 0..1": {"temperature": 1.5},
    "top_p: range": {"top_p": -1},
    "stop_sequences: Input": {"stop_sequences": "x"},
    "stop_sequences: each": {"stop_sequences": [" "]},
    "messages: Field required": {"messages": None},
    "messages: Input should be": {"messages": "x"},
    "messages: at least one": {"messages": []},
    "messages.0: Input": {"messages": ["x"]},
    "messages.0.role": {"messages": [{"role": "tool", "content": "x"}]},
    "messages.0.content: Field": {"messages": [{"role": "user"}]},
    "messages.0.content: Input": {"messages": [{"role": "user", "content": ["x"]}]},
    "messages.0: user messages": {"messages": [{"role": "user", "content": []}]},
    "messages: text content": {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
    "messages.1.content.0: unexpected `tool_use_id`": {"messages": [USER, RESULT]},
    "messages.1: `tool_use` ids were found": {"messages": [USER, CALL, USER]},
    "tools: Input": {"tools": {"f": TOOL}},
    "system: Input": {"system": ["x"]},
    "tools.0.custom.name": {"tools": [TOOL | {"name": "no spaces"}]},
    "tools: Tool names must be unique": {"tools": [TOOL, TOOL]},
    "tools.0.custom.input_schema": {"tools": [{"name": "f"}]},
    "Tool 'g' not found": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
    "tool_choice.any": {"tool_choice": {"type": "any"}},
    "tool_choice: Input": {"tool_choice": "auto"},
    "tools.0.custom.input_schema.properties: Property keys": {
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"filter[id]": {"type": "string"}}}}]
    },
    "Too many strict tools (21).": strict(21, {}, []),
    "Schemas contains too many optional parameters (25)": strict(5, {f"p{n}": {} for n in range(5)}, []),
    "Schemas contains too many parameters with union types (17": {
        **strict(1, {"a": {"items": {"properties": {"b": {"anyOf": []}}, "required": ["b"]}}}, ["a"]),
        "output_config": {"format": {"schema": {"properties": {f"p{n}": {"type": ["string"]} for n in range(16)}}}},
    },
}


@pytest.mark.parametrize(("message", "fields"), BAD.items(), ids=BAD.keys())
def test_a_bad_request_is_refused_in_the_words_of_the_api(message: str, fields: dict[str, Any]) -> None:
    body = {key: value for key, value in (GOOD | fields).items() if value is not None}

    assert next(refusals(body)).startswith(message)


def test_counting_needs_no_max_tokens() -> None:
    body = {key: value for key, value in GOOD.items() if key != "max_tokens"}

    assert list(refusals(body, counting=True)) == []
