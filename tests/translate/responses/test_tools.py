"""Tools, tool_choice and text.format of a response become Claude's."""

from typing import Any

import pytest

from translate.chat.response_format import JSON_OBJECT_INSTRUCTION
from translate.errors import OpenAIError
from translate.responses.offered import Offered, offered_tools
from translate.responses.tools import (
    REFUSED_TOOLS,
    echoed_format,
    echoed_tools,
    translate_response_tools,
    translate_text_format,
    without_effect,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT = {**SCHEMA, "additionalProperties": False}


def function(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": SCHEMA, **more}


def refusal(tools: list[Any], choice: Any = None, **options: Any) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        translate_response_tools(tools, choice, None, **{"can_force": True, **options})
    return caught.value


def test_a_function_is_claudes_tool() -> None:
    tools = translate_response_tools([function(description="Looks.", strict=False)], None, None, can_force=True)

    assert tools.tools == ({"name": "look", "input_schema": SCHEMA, "description": "Looks."},)
    assert tools.tool_choice is None


def test_a_strict_function_beyond_claudes_grammar_is_named_by_its_place() -> None:
    tree = {"type": "object", "properties": {"up": {"$ref": "#"}}, "required": ["up"], "additionalProperties": False}
    offered = [function("a"), function("b", strict=True, parameters=tree)]

    tools = translate_response_tools(offered, None, None, can_force=True, where=["tools[0]", "input[3].tools[1]"])

    assert tools.tools[1] == {"name": "b", "input_schema": tree}
    assert tools.loose == ("input[3].tools[1].strict",)


def test_strict_is_claudes_and_absent_is_not() -> None:
    strict, loose = translate_response_tools(
        [function(parameters=STRICT, strict=True), function("b")], None, None, can_force=True
    ).tools

    assert strict["strict"] is True
    assert "strict" not in loose


@pytest.mark.parametrize(
    ("choice", "claudes"),
    [
        (None, None),
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "name": "look"}, {"type": "tool", "name": "look"}),
    ],
)
def test_the_choice_is_claudes(choice: Any, claudes: Any) -> None:
    assert translate_response_tools([function()], choice, None, can_force=True).tool_choice == claudes


def test_one_call_at_a_time_is_claudes_too() -> None:
    tools = translate_response_tools([function()], "auto", False, can_force=True)

    assert tools.tool_choice == {"type": "auto", "disable_parallel_tool_use": True}


def test_only_allowed_tools_are_offered() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "b"}]}
    tools = translate_response_tools([function("a"), function("b")], choice, None, can_force=True)

    assert [tool["name"] for tool in tools.tools] == ["b"]
    assert tools.tool_choice == {"type": "any"}


def allowing(mode: str, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


def test_all_tools_of_an_mcp_server_are_allowed_by_its_label() -> None:
    offered = [function("crm__look"), function("crm__write"), function("look"), function("crm2__look")]
    choice = allowing("auto", {"type": "function", "name": "look"}, {"type": "mcp", "server_label": "crm"})
    tools = translate_response_tools(offered, choice, None, can_force=True).tools

    assert [tool["name"] for tool in tools] == ["crm__look", "crm__write", "look"]


@pytest.mark.parametrize(
    "left_out", [{"type": "image_generation"}, {"type": "web_search", "external_web_access": False}]
)
def test_a_left_out_tool_may_be_in_allowed_tools(left_out: Any) -> None:
    offered, named = [function(), left_out], {"type": left_out["type"]}
    tools = translate_response_tools(
        offered, allowing("required", {"type": "function", "name": "look"}, named), None, can_force=True
    )

    assert [tool["name"] for tool in tools.tools] == ["look"]
    assert tools.tool_choice == {"type": "any"}


def test_if_only_a_disabled_web_search_is_allowed_there_are_no_tools() -> None:
    offline = {"type": "web_search", "external_web_access": False}
    tools = translate_response_tools(
        [function(), offline], allowing("required", {"type": "web_search"}), None, can_force=True
    )

    assert (tools.tools, tools.tool_choice) == ((), None)


def test_allowing_only_image_generation_is_refused() -> None:
    drawing = {"type": "image_generation"}

    with pytest.raises(OpenAIError, match="image_generation"):
        translate_response_tools([function(), drawing], allowing("auto", drawing), None, can_force=True)


def test_a_model_that_cannot_be_forced_is_told() -> None:
    tools = translate_response_tools(
        [function("a"), function("b")], {"type": "function", "name": "b"}, None, can_force=False
    )

    assert [tool["name"] for tool in tools.tools] == ["b"]
    assert tools.instruction is not None


def custom(name: str = "patch", **more: Any) -> dict[str, Any]:
    return {"type": "custom", "name": name, "description": "Patches.", **more}


def test_a_custom_tool_is_a_function_with_one_string() -> None:
    (tool,) = translate_response_tools([custom()], {"type": "custom", "name": "patch"}, None, can_force=True).tools

    assert (tool["name"], tool["description"]) == ("patch", "Patches.")
    assert tool["input_schema"]["required"] == ["input"]
    assert tool["input_schema"]["properties"]["input"]["type"] == "string"


def test_claude_is_told_the_grammar_of_a_custom_tool() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    (tool,) = translate_response_tools([custom(format=grammar)], None, None, can_force=True).tools

    assert tool["description"].startswith("Patches.\n\n")
    assert tool["description"].endswith("Lark grammar:\nstart: WORD")


def test_a_namespace_is_the_beginning_of_its_tools_names() -> None:
    crm = {"type": "namespace", "name": "crm", "description": "Our customers.", "tools": [function(), custom()]}
    choice = {"type": "function", "name": "look", "namespace": "crm"}
    tools = translate_response_tools([crm, function()], choice, None, can_force=True)

    assert [tool["name"] for tool in tools.tools] == ["crm__look", "crm__patch", "look"]
    assert tools.tool_choice == {"type": "tool", "name": "crm__look"}
    first, second, _ = tools.tools
    assert first["description"] == "(Tools whose names begin with crm__: Our customers.)"
    assert second["description"] == "Patches."
    assert tools.instruction is None
    assert echoed_tools([crm])[0]["tools"][1] == {**custom(), "format": {"type": "text"}}


SEARCH = {
    "type": "web_search",
    "filters": {"allowed_domains": ["example.com"]},
    "user_location": {"type": "approximate", "city": "Bern", "country": None},
}


def test_a_search_of_the_web_is_anthropics() -> None:
    tools = translate_response_tools(
        [function(), SEARCH], {"type": "web_search_preview"}, None, can_force=True, max_searches=3
    )

    assert tools.tools[1] == {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 3,
        "allowed_domains": ["example.com"],
        "user_location": {"type": "approximate", "city": "Bern"},
    }
    assert tools.tool_choice == {"type": "tool", "name": "web_search"}
    assert echoed_tools([SEARCH])[0]["filters"] == SEARCH["filters"]


@pytest.mark.parametrize(
    ("tool", "allowed", "unused"),
    [
        ({"type": "web_search"}, False, ["tools[0]"]),
        ({"type": "web_search", "external_web_access": False}, True, ["tools[0]"]),
        ({"type": "web_search", "search_context_size": "low"}, True, ["tools[0].search_context_size"]),
        ({"type": "tool_search"}, True, ["tools[0]"]),
        ({"type": "tool_search", "execution": "client"}, True, []),
        (custom(format={"type": "grammar"}), True, ["tools[0].format"]),
        (function(), True, []),
    ],
)
def test_tools_without_effect_are_reported(tool: Any, allowed: bool, unused: list[str]) -> None:
    assert without_effect([tool], web_search=allowed) == unused


def test_a_search_that_may_not_go_online_is_left_out() -> None:
    offline = {"type": "web_search", "external_web_access": False}

    assert translate_response_tools([function(), offline], None, None, can_force=True).tools[1:] == ()
    assert translate_response_tools([function(), SEARCH], None, None, can_force=True, web_search=False).tools[1:] == ()


def test_an_app_that_searches_for_tools_itself_offers_a_function() -> None:
    search = {"type": "tool_search", "execution": "client", "parameters": SCHEMA, "description": "Finds."}
    (tool,) = translate_response_tools([search], None, None, can_force=True).tools

    assert tool == {"name": "tool_search", "input_schema": SCHEMA, "description": "Finds."}
    assert translate_response_tools([{"type": "tool_search"}], None, None, can_force=True).tools == ()


def test_a_tool_that_is_found_again_is_offered_once() -> None:
    first, second = function(description="old"), function(description="new")
    where = ["input[0].tools[0]", "tools[0]", "input[4].tools[0]"]
    tools = translate_response_tools([first, function("b"), second], None, None, can_force=True, where=where).tools

    assert [(tool["name"], tool.get("description")) for tool in tools] == [("look", "new"), ("b", None)]


def test_a_long_name_is_cut_to_what_claude_takes() -> None:
    long = "crm_" * 30
    (tool,) = translate_response_tools([function(long)], None, None, can_force=True).tools

    assert len(tool["name"]) == 64
    assert offered_tools([function(long)])[tool["name"]] == Offered(long)


@pytest.mark.parametrize("kind", REFUSED_TOOLS)
def test_every_other_tool_is_refused_by_name(kind: str) -> None:
    error = refusal([{"type": kind}, {"type": kind}])

    assert (error.status, error.param, error.code) == (400, "tools[0].type", "unsupported_value")
    assert repr(kind) in error.message


@pytest.mark.parametrize("kind", sorted(REFUSED_TOOLS.keys() - {"image_generation"}))
def test_an_unsupported_tool_is_refused_also_with_others(kind: str) -> None:
    assert refusal([function(), {"type": kind}]).param == "tools[1].type"


def test_the_making_of_images_is_left_out_beside_other_tools() -> None:
    images = {"type": "image_generation", "output_format": "png"}
    tools = [function(), images]

    assert [tool["name"] for tool in translate_response_tools(tools, "auto", None, can_force=True).tools] == ["look"]
    assert without_effect(tools, web_search=True) == ["tools[1]"]
    assert echoed_tools(tools)[1] == images
    assert refusal(tools, {"type": "image_generation"}).param == "tool_choice.type"


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "nonsense"}, "tools[1].type"),
        ("look", "tools[1]"),
        ({}, "tools[1]"),
        ({"type": "function"}, "tools[1].name"),
        (function("not a name"), "tools[1].name"),
        (function("b", parameters=[]), "tools[1].parameters"),
        (function("b", parameters={"type": "array"}), "tools[1].parameters"),
        (function("b", parameters=SCHEMA, strict=True), "tools[1].parameters"),
        (function("b", description=1), "tools[1].description"),
        (function("b", allowed_callers=["programmatic"]), "tools[1].allowed_callers"),
        (function(description="Another."), "tools"),
        ({"type": "custom"}, "tools[1].name"),
        ({"type": "web_search", "filters": []}, "tools[1].filters"),
        ({"type": "web_search", "external_web_access": 1}, "tools[1].external_web_access"),
        ({"type": "web_search", "filters": {"allowed_domains": ["a"], "blocked_domains": ["b"]}}, "tools[1].filters"),
        ({"type": "tool_search", "execution": "both"}, "tools[1].execution"),
        (custom(description=1), "tools[1].description"),
        (custom(format={"type": "grammar", "syntax": "bnf", "definition": ""}), "tools[1].format"),
        (custom(format="text"), "tools[1].format"),
        ({"type": "namespace", "name": "a b", "tools": [function()]}, "tools[1].name"),
        ({"type": "namespace", "name": "a", "tools": []}, "tools[1].tools"),
        ({"type": "namespace", "name": "a", "tools": [{"type": "mcp"}]}, "tools[1].tools[0]"),
        ({"type": "namespace", "name": "a", "tools": [function("x y")]}, "tools[1].tools[0].name"),
    ],
)
def test_a_tool_is_refused_by_its_place(tool: Any, param: str) -> None:
    error = refusal([function(), tool])

    assert error.param == param
    assert ".function" not in error.message


def test_a_tool_that_an_item_offers_is_named_by_that_items_path() -> None:
    error = refusal([function(), function("not a name")], where=["tools[0]", "input[3].tools[0]"])

    assert error.param == "input[3].tools[0].name"
    assert "'input[3].tools[0].name'" in error.message


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({"type": "function"}, "tool_choice.name"),
        ({"type": "function", "function": {"name": "look"}}, "tool_choice.name"),
        ({"type": "function", "name": "b"}, "tool_choice"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tool_choice"),
        ({"type": "allowed_tools", "mode": "none", "tools": []}, "tool_choice"),
        ({"type": "allowed_tools", "mode": "auto", "tools": ["look"]}, "tool_choice"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "image_generation"}]}, "tool_choice.type"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "b"}]}, "tool_choice"),
        ({"type": "file_search"}, "tool_choice.type"),
        ({"type": "mcp", "server_label": "x"}, "tool_choice.name"),
        ({"type": "mcp", "server_label": "x", "name": "y"}, "tool_choice"),
        ({"type": "web_search"}, "tool_choice"),
        ({"type": "custom", "name": "x"}, "tool_choice"),
        ("sometimes", "tool_choice"),
        ({}, "tool_choice"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(choice: Any, param: str) -> None:
    assert refusal([function()], choice).param == param


def test_a_choice_without_tools_is_refused() -> None:
    assert refusal([], "required").param == "tool_choice"


def test_functions_are_repeated_with_what_openai_always_has() -> None:
    repeated = {
        "type": "function",
        "name": "look",
        "description": None,
        "output_schema": None,
        "parameters": SCHEMA,
        "strict": True,
    }
    assert echoed_tools([function(strict=True, description="", defer_loading=True)]) == [repeated]
    assert echoed_tools([function(strict=True, description="", output_schema={"type": "object"})]) == [
        {**repeated, "output_schema": {"type": "object"}}
    ]


def test_a_function_that_a_search_finds_is_repeated_as_a_namespace_of_its_own() -> None:
    lazy = function(description="Looks.", defer_loading=True)

    first, second, third = echoed_tools([lazy, custom(defer_loading=True), {"type": "tool_search"}])

    assert first == {"type": "namespace", "name": "look", "description": "Looks.", "tools": echoed_tools([lazy])}
    assert second["type"] == "custom"
    assert third == {"type": "tool_search", "description": None, "parameters": None}


def test_a_deferred_function_may_be_forced_by_its_own_namespace() -> None:
    lazy = function(defer_loading=True)
    choice = {"type": "function", "name": "look", "namespace": "look"}

    tools = translate_response_tools([lazy, {"type": "tool_search"}], choice, None, can_force=True)
    assert tools.tool_choice == {"type": "tool", "name": "look"}
    namespace = {"type": "namespace", "name": "look", "tools": [function()]}
    tools = translate_response_tools([namespace, function()], choice, None, can_force=True)
    assert tools.tool_choice == {"type": "tool", "name": "look__look"}


FORMAT = {"type": "json_schema", "name": "Place", "schema": STRICT, "strict": True}


def test_a_schema_is_claudes_output_format() -> None:
    assert translate_text_format(FORMAT, []).format == {"type": "json_schema", "schema": STRICT}


@pytest.mark.parametrize("value", [None, {"type": "text"}])
def test_text_needs_no_format(value: Any) -> None:
    output = translate_text_format(value, [])

    assert (output.format, output.instruction) == (None, None)


def test_a_json_object_is_asked_for_by_instruction() -> None:
    assert translate_text_format({"type": "json_object"}, ["as JSON"]).instruction == JSON_OBJECT_INSTRUCTION


@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ({"type": "json_object"}, "input", None),
        ({"type": "xml"}, "text.format.type", "invalid_value"),
        ({}, "text.format", "invalid_type"),
        ({**FORMAT, "schema": SCHEMA}, "text.format.schema", "invalid_json_schema"),
        ({"type": "json_schema", "name": "x"}, "text.format.schema", "missing_required_parameter"),
        ({"type": "json_schema", "schema": SCHEMA}, "text.format.name", "invalid_value"),
    ],
)
def test_a_format_is_refused_in_this_dialects_words(value: Any, param: str, code: str | None) -> None:
    with pytest.raises(OpenAIError) as caught:
        translate_text_format(value, ["nothing"])

    assert (caught.value.param, caught.value.code) == (param, code)
    assert "response_format." not in caught.value.message


def test_a_format_is_repeated_with_what_openai_always_has() -> None:
    assert echoed_format(None) == {"type": "text"}
    assert echoed_format({"type": "json_object", "x": 1}) == {"type": "json_object"}
    assert echoed_format({**FORMAT, "description": "A place."}) == {**FORMAT, "description": "A place."}
    assert echoed_format({"type": "json_schema", "name": "a", "schema": {}, "description": None}) == {
        "type": "json_schema",
        "name": "a",
        "description": None,
        "schema": {},
        "strict": False,
    }
