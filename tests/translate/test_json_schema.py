"""Schemas as Claude's grammar takes them."""

from typing import Any

import pytest

from translate.json_schema import SchemaError, fit

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def test_a_plain_strict_schema_is_untouched() -> None:
    assert fit(CLOSED, strict=True) == CLOSED


def test_objects_are_closed_wherever_they_are() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}}}

    fitted = fit(schema, strict=False)

    assert fitted["additionalProperties"] is False
    assert fitted["properties"]["a"]["items"]["additionalProperties"] is False


def test_bounds_are_told_in_the_description() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "description": "How many."}}}

    assert fit(schema, strict=False)["properties"]["n"] == {
        "type": "integer",
        "description": "How many. (minimum: 1)",
    }


@pytest.mark.parametrize(
    ("word", "value", "kept"),
    [("minItems", 1, True), ("minItems", 3, False), ("format", "date", True), ("format", "iri", False)],
)
def test_what_the_grammar_knows_is_kept(word: str, value: Any, kept: bool) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "array", word: value}}}

    assert (word in fit(schema, strict=False)["properties"]["x"]) is kept


def test_one_of_becomes_any_of() -> None:
    schema = {"type": "object", "properties": {"x": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}

    assert fit(schema, strict=False)["properties"]["x"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_definitions_are_fitted_too() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {}}}}

    assert fit(schema, strict=False)["$defs"]["a"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, 'type: "object"'),
        ({"type": "object", "properties": {}}, "'additionalProperties' is required"),
        ({**CLOSED, "required": []}, "Missing 'a'"),
        ({**CLOSED, "properties": {"a": {"allOf": []}}}, "'allOf' is not permitted"),
        ({**CLOSED, "properties": {"a": {"anyOf": [{"not": {}}]}}}, "'anyOf', '0'"),
    ],
)
def test_what_openai_refuses_when_strict_is_refused_with_its_place(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        fit(schema, strict=True)

    assert words in str(caught.value)


def test_a_schema_that_is_only_true_or_false_stays_so() -> None:
    assert fit({"type": "object", "properties": {"a": True}}, strict=False)["properties"] == {"a": True}
