"""Tools, tool_choice and the ids of calls."""

from typing import Any

import pytest

from translate.errors import OpenAIError
from translate.tools import MAX_TOOLS, ToolUseIds, tool_names, tools_for_history, translate_tools

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def function(name: str = "get_weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


def refusal(fields: dict[str, Any]) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        translate_tools(fields, can_force=True)
    assert caught.value.status == 400
    return caught.value


def test_a_function_becomes_a_tool_with_the_same_schema() -> None:
    tools = translate_tools({"tools": [function(description="Tell the weather.")]}, can_force=True)

    assert tools.tools == ({"name": "get_weather", "description": "Tell the weather.", "input_schema": SCHEMA},)
    assert tools.tool_choice is None
    assert tools.instruction is None


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    tools = translate_tools({"tools": [{"type": "function", "function": {"name": "now"}}]}, can_force=True)

    assert tools.tools[0]["input_schema"] == {"type": "object", "properties": {}}


def test_a_strict_function_stays_strict_and_is_closed() -> None:
    schema = {**SCHEMA, "additionalProperties": False}

    tools = translate_tools({"tools": [function(strict=True, parameters=schema)]}, can_force=True)

    assert tools.tools[0]["strict"] is True
    assert tools.tools[0]["input_schema"]["additionalProperties"] is False


@pytest.mark.parametrize("parameters", [{}, {"parameters": None}], ids=["absent", "null"])
def test_a_strict_function_may_have_no_parameters(parameters: dict[str, Any]) -> None:
    bare = {"type": "function", "function": {"name": "now", "strict": True, **parameters}}

    tools = translate_tools({"tools": [bare]}, can_force=True)

    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert tools.tools == ({"name": "now", "strict": True, "input_schema": closed},)


TREE = {"type": "object", "properties": {"up": {"$ref": "#"}}, "required": ["up"], "additionalProperties": False}


def test_a_strict_function_beyond_claudes_grammar_is_offered_without_being_held_to() -> None:
    fields = {"tools": [function("a"), function("b", strict=True, parameters=TREE)]}

    tools = translate_tools(fields, can_force=True)

    assert tools.tools[1] == {"name": "b", "input_schema": TREE}
    assert tools.loose == ("tools[1].function.strict",)


def test_a_strict_function_with_an_open_schema_is_refused_in_openais_words() -> None:
    error = refusal({"tools": [function(strict=True)]})

    assert error.code == "invalid_function_parameters"
    assert "'additionalProperties' is required" in error.message


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        (None, None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "b"}}, {"type": "tool", "name": "b"}),
    ],
)
def test_a_choice_becomes_claudes(choice: Any, expected: Any) -> None:
    tools = translate_tools({"tools": [function("a"), function("b")], "tool_choice": choice}, can_force=True)

    assert tools.tool_choice == expected
    assert [tool["name"] for tool in tools.tools] == ["a", "b"]


def test_no_parallel_calls_is_said_with_every_choice() -> None:
    fields = {"tools": [function()], "parallel_tool_calls": False}

    assert translate_tools(fields, can_force=True).tool_choice == {"type": "auto", "disable_parallel_tool_use": True}
    assert translate_tools({**fields, "tool_choice": "required"}, can_force=True).tool_choice == {
        "type": "any",
        "disable_parallel_tool_use": True,
    }


def test_allowed_tools_narrow_what_is_offered() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    fields = {
        "tools": [function("a"), function("b")],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed},
    }

    tools = translate_tools(fields, can_force=True)

    assert [tool["name"] for tool in tools.tools] == ["b"]
    assert tools.tool_choice == {"type": "any"}


def test_a_model_that_cannot_be_forced_gets_the_named_tool_alone_and_an_instruction() -> None:
    choice = {"type": "function", "function": {"name": "b"}}

    tools = translate_tools({"tools": [function("a"), function("b")], "tool_choice": choice}, can_force=False)

    assert [tool["name"] for tool in tools.tools] == ["b"]
    assert tools.tool_choice is None
    assert tools.instruction is not None
    assert "calling the tool b" in tools.instruction


def test_the_older_form_is_one_call_at_a_time() -> None:
    fields = {"functions": [{"name": "a", "parameters": SCHEMA}], "function_call": {"name": "a"}}

    tools = translate_tools(fields, can_force=True)

    assert tools.legacy
    assert tools.tool_choice == {"type": "tool", "name": "a", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [function("with space")]}, "tools[0].function.name"),
        ({"tools": [function("x" * 65)]}, "tools[0].function.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"tools": "x"}, "tools"),
        ({"tools": [function(), function(description="Another.")]}, "tools"),
        ({"tools": [function(str(n)) for n in range(MAX_TOOLS + 1)]}, "tools"),
        ({"tools": [function(parameters="x")]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"type": "array"})]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"anyOf": [SCHEMA]})]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"properties": {"a b": {}}})]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"properties": []})]}, "tools[0].function.parameters"),
        ({"tools": [function(description=3)]}, "tools[0].function.description"),
        ({"tools": [function()], "tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"tools": [function()], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [function()], "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "a"}], "tools": [function()]}, "functions"),
        (
            {
                "tools": [function()],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "no"}}]},
                },
            },
            "tool_choice",
        ),
        (
            {
                "tools": [function()],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "x"}]}},
            },
            "tool_choice",
        ),
    ],
)
def test_an_invalid_tool_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refusal(fields).param == param


@pytest.mark.parametrize("name", ["tools", "functions"])
def test_a_tool_that_is_given_twice_is_offered_once(name: str) -> None:
    once: list[Any] = [function("a"), function("b")] if name == "tools" else [{"name": "a"}, {"name": "b"}]

    twice = translate_tools({name: [once[0], *once, once[1]]}, can_force=True)

    assert twice == translate_tools({name: once}, can_force=True)


def test_ids_of_our_own_come_back_as_they_are() -> None:
    assert ToolUseIds().claim("toolu_01ABC-x") == "toolu_01ABC-x"


def test_ids_are_made_to_fit_and_used_once() -> None:
    ids = ToolUseIds()

    assert [ids.claim("call 0"), ids.claim("call 0"), ids.claim("")] == ["call_0", "call_0-2", "call-2"]


@pytest.mark.parametrize(
    ("given", "fitted"),
    [
        (["a", "a_2"], ["a", "a_2-2"]),
        (["a_2", "a"], ["a_2", "a-2"]),
        (["a_2", "a_2_3", "a"], ["a_2", "a_2_3-2", "a-2"]),
        (["a", "a", "a_2"], ["a", "a-2", "a_2-2"]),
        (["a_1", "a_2", "ab_2", "a-2", "a_b"], ["a_1", "a_2", "ab_2", "a-2", "a_b"]),
    ],
)
def test_no_id_is_what_claude_code_takes_for_a_part_of_another(given: list[str], fitted: list[str]) -> None:
    ids = ToolUseIds()

    assert [ids.claim(id) for id in given] == fitted


def test_tools_that_only_the_history_calls_are_declared_once_each() -> None:
    blocks = [{"type": "tool_use", "name": "a"}, {"type": "text"}, {"type": "tool_use", "name": "a"}]

    assert tools_for_history(tool_names(blocks)) == ({"name": "a", "input_schema": {"type": "object"}},)
