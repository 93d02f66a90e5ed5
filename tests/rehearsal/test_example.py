"""Values made from a schema are valid by it; jsonschema is the judge."""

from typing import Any

import jsonschema
import pytest

from rehearsal.example import example

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "all": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["name", "left", "all"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, Any] = {
    "an empty schema": {},
    "an object without properties": {"type": "object"},
    "required and optional properties": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "a required property that is not described": {"type": "object", "required": ["x"]},
    "an enum": {"enum": ["celsius", "fahrenheit"]},
    "a const": {"const": {"a": [1]}},
    "a null const": {"const": None},
    "a short string": {"type": "string", "maxLength": 3},
    "an empty string": {"type": "string", "maxLength": 0},
    "a long string": {"type": "string", "minLength": 200},
    "a date": {"type": "string", "format": "date"},
    "an e-mail address": {"type": "string", "format": "email"},
    "a boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "a nullable string": {"type": ["string", "null"]},
    "an integer between": {"type": "integer", "minimum": 5, "maximum": 6},
    "a negative integer": {"type": "integer", "maximum": -3},
    "an integer above": {"type": "integer", "exclusiveMinimum": 10},
    "an integer below": {"type": "integer", "exclusiveMaximum": 1},
    "a multiple": {"type": "integer", "multipleOf": 7, "minimum": 10},
    "a number in a narrow gap": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "a number up to one": {"type": "number", "minimum": 0, "maximum": 1},
    "an array of at least three": {"type": "array", "items": {"type": "number"}, "minItems": 3},
    "an array of none": {"type": "array", "items": {"type": "number"}, "maxItems": 0},
    "a tuple": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
        "items": False,
        "minItems": 2,
    },
    "unlike strings": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
    "unlike choices": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True},
    "anyOf": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "oneOf with shared properties": {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "oneOf": [{"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]}],
    },
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "a reference": {"$defs": {"p": {"type": "integer", "minimum": 3}}, "properties": {"x": {"$ref": "#/$defs/p"}}},
    "an escaped reference": {"$defs": {"a/b~c": {"const": 3}}, "$ref": "#/$defs/a~1b~0c"},
    "a tree": {"$ref": "#/$defs/node", "$defs": {"node": TREE}},
    "itself": {"type": "object", "properties": {"next": {"$ref": "#"}}},
    "at least two properties": {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
    "no type but items": {"items": {"type": "integer"}},
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_the_value_is_valid_by_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    value = example(schema)

    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)


def test_the_value_is_always_the_same_and_names_its_properties() -> None:
    schema = SCHEMAS["required and optional properties"]

    assert example(schema) == example(schema) == {"city": "rehearsed city", "days": 1}


def test_the_first_alternative_is_taken() -> None:
    assert example({"anyOf": [{"type": "integer"}, {"type": "string"}]}) == 1


def test_a_schema_that_ends_nowhere_still_gives_a_value() -> None:
    endless = {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}

    assert "x" in example(endless)


def test_a_reference_to_nothing_or_to_itself_is_survived() -> None:
    assert example({"$ref": "#/$defs/none"}) == "rehearsed text"
    assert example({"$ref": "#"}) is not ...
