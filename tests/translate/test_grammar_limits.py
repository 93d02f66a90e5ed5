"""Anthropic's limits for schemas, over all strict tools and the output format of a request."""

from typing import Any

import pytest

from translate.chat.request import Translated, translate_request
from translate.grammar_limits import MAX_OPTIONAL, MAX_STRICT_TOOLS, MAX_UNIONS, Load, beyond_limits, load_of

NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def schema(*properties: Any, required: bool = True) -> dict[str, Any]:
    named = {f"p{index}": each for index, each in enumerate(properties)}
    return {
        "type": "object",
        "properties": named,
        "required": list(named) if required else [],
        "additionalProperties": False,
    }


def function(name: str, *properties: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "strict": True, "parameters": schema(*properties)}}


def answer(inside: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": inside, **fields}}


def translated(**fields: Any) -> Translated:
    return translate_request({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})


@pytest.mark.parametrize(
    ("inside", "load"),
    [
        (schema({"type": "string"}), Load()),
        (schema({"type": ["string", "null"]}, NULLABLE), Load(unions=2)),
        (schema({"type": "string"}, {"type": "string"}, required=False), Load(optional=2)),
        (schema({"type": "array", "items": schema(NULLABLE)}), Load(unions=1)),
        ({"$ref": "#/$defs/a", "$defs": {"a": schema(NULLABLE, required=False)}}, Load(optional=1, unions=1)),
        (schema({"anyOf": [schema(NULLABLE), {"type": "null"}]}), Load(unions=2)),
        ({"type": "object", "properties": {"properties": {"type": "string"}}}, Load(optional=1)),
    ],
    ids=["plain", "unions", "optional", "in items", "in definitions", "in a union", "a property of that name"],
)
def test_every_property_counts_wherever_it_is(inside: dict[str, Any], load: Load) -> None:
    assert load_of(inside) == load


def test_what_is_exactly_at_the_limits_stays_constrained() -> None:
    tools = [{"name": f"t{n}", "strict": True, "input_schema": schema()} for n in range(MAX_STRICT_TOOLS - 1)]
    tools.append({"name": "last", "strict": True, "input_schema": schema(*[NULLABLE] * (MAX_UNIONS - 1))})
    format = {"schema": schema(NULLABLE, *[{"type": "string"}] * (MAX_OPTIONAL - 1), required=False)}

    assert beyond_limits(tools, format).tools == frozenset()
    assert beyond_limits([*tools, {**tools[0], "name": "more"}], format).tools == {"more"}


def test_the_output_format_goes_before_the_tools() -> None:
    tools = [{"name": "a", "strict": True, "input_schema": schema(NULLABLE)}]
    format = {"schema": schema(*[NULLABLE] * MAX_UNIONS)}

    beyond = beyond_limits(tools, format)

    assert not beyond.format
    assert beyond.tools == {"a"}


def test_tools_beyond_the_limits_are_offered_without_strict_and_named() -> None:
    result = translated(tools=[function(f"t{n}", NULLABLE) for n in range(MAX_UNIONS + 1)])

    strict = [tool.get("strict") for tool in result.turn.tools]
    assert strict == [True] * MAX_UNIONS + [None]
    assert result.turn.tools[-1]["input_schema"]["properties"] == {"p0": NULLABLE}
    assert result.ignored == (f"tools[{MAX_UNIONS}].function.strict",)


@pytest.mark.parametrize("strict", [True, False])
def test_an_output_format_beyond_the_limits_is_asked_for_in_words(strict: bool) -> None:
    result = translated(response_format=answer(schema(*[NULLABLE] * (MAX_UNIONS + 1)), strict=strict))

    assert result.turn.output_format is None
    assert f'"p{MAX_UNIONS}"' in str(result.turn.system)
    assert result.ignored == (("response_format.json_schema.strict",) if strict else ())


def test_tools_that_are_not_on_offer_do_not_count() -> None:
    tools = [function(f"t{n}") for n in range(MAX_STRICT_TOOLS + 1)]
    last = {"type": "function", "function": {"name": f"t{MAX_STRICT_TOOLS}"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [last]}}

    result = translated(tools=tools, tool_choice=allowed)

    assert [tool["strict"] for tool in result.turn.tools] == [True]
    assert result.ignored == ()


def test_the_fallback_of_a_turn_has_no_grammar_and_says_what_has_no_effect() -> None:
    result = translated(tools=[function("f")], response_format=answer(schema(NULLABLE), strict=True))
    turn = result.turn.without_grammar()

    assert (turn.output_format, turn.fallback) == (None, None)
    assert ["strict" in tool for tool in turn.tools] == [False]
    assert '"p0"' in str(turn.system)
    assert result.turn.fallback is not None
    assert result.turn.fallback.params == ("tools[0].function.strict", "response_format.json_schema.strict")


def test_a_turn_without_schemas_has_no_fallback() -> None:
    turn = translated(tools=[{"type": "function", "function": {"name": "f"}}]).turn

    assert turn.fallback is None
    assert turn.without_grammar() == turn
