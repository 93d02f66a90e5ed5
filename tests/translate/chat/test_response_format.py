"""response_format becomes Claude's output format, an instruction, or nothing."""

import json
from typing import Any

import pytest

from translate.chat.response_format import JSON_OBJECT_INSTRUCTION, JSON_SCHEMA_INSTRUCTION, translate_response_format
from translate.errors import OpenAIError

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def json_schema(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, **fields}}


@pytest.mark.parametrize("value", [None, {"type": "text"}])
def test_text_is_what_claude_writes_anyway(value: Any) -> None:
    output = translate_response_format(value, [])

    assert output.format is None
    assert output.instruction is None


def test_a_schema_becomes_an_output_format() -> None:
    assert translate_response_format(json_schema(strict=True), []).format == {"type": "json_schema", "schema": SCHEMA}


def test_a_schemas_description_is_kept() -> None:
    output = translate_response_format(json_schema(description="The answer."), [])

    assert output.format is not None
    assert output.format["schema"]["description"] == "The answer."


def test_a_json_object_is_asked_for_by_an_instruction() -> None:
    output = translate_response_format({"type": "json_object"}, [{"role": "user", "content": "as JSON"}])

    assert output.format is None
    assert output.instruction == JSON_OBJECT_INSTRUCTION


@pytest.mark.parametrize("strict", [True, False])
def test_a_schema_beyond_claudes_grammar_is_asked_for_by_an_instruction(*, strict: bool) -> None:
    schema = {**SCHEMA, "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["a"]}

    output = translate_response_format(json_schema(strict=strict, schema=schema, description="A chain."), [])

    assert output.format is None
    assert output.instruction is not None
    told = output.instruction.removeprefix(JSON_SCHEMA_INSTRUCTION)
    assert json.loads(told) == {**schema, "description": "A chain."}
    assert output.loose is strict


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"type": "json_object"}, "messages"),
        ({"type": "xml"}, "response_format.type"),
        ({}, "response_format"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (json_schema(name="a b"), "response_format.json_schema.name"),
        (json_schema(schema=None), "response_format.json_schema.schema"),
        (json_schema(strict=True, schema={"type": "object", "properties": {}}), "response_format"),
    ],
)
def test_a_format_that_openai_refuses_is_refused(value: dict[str, Any], param: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        translate_response_format(value, [{"role": "user", "content": "hello"}])

    assert (caught.value.status, caught.value.param) == (400, param)
