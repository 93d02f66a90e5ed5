"""Schemas as Claude's grammar takes them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from translate import json_schema
from translate.grammar_limits import Load, load_of
from translate.json_schema import SchemaError, fit, is_beyond

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
def test_supported_keywords_are_kept(word: str, value: Any, kept: bool) -> None:
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
def test_a_strict_schema_that_openai_refuses_is_refused_with_its_place(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        fit(schema, strict=True)

    assert words in str(caught.value)


def test_a_schema_deeper_than_python_goes_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}

    with pytest.raises(SchemaError, match="nested too deeply"):
        fit(schema, strict=False)


def test_a_schema_that_is_only_true_or_false_stays_so() -> None:
    assert fit({"type": "object", "properties": {"a": True}}, strict=False)["properties"] == {"a": True}


def holding(node: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": node}, **more}


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize(
    "schema",
    [
        holding({"type": "object", "additionalProperties": {"type": "string"}}),
        holding({"type": ["object", "null"]}),
        {"type": "object", "properties": {}, "additionalProperties": True},
        holding(
            {"type": "array", "items": {"type": "object", "patternProperties": {"^x": {}}, "properties": {"b": {}}}}
        ),
        holding({"type": "array", "prefixItems": [{"type": "string"}]}),
        holding({"type": "array", "items": [{"type": "string"}]}),
        holding({"allOf": [reference("b")]}, **{"$defs": {"b": CLOSED}}),
        holding({"oneOf": [{"type": "string"}], "anyOf": [{"maxLength": 3}]}),
        holding({"$ref": "https://example.com/schema.json"}),
        holding({"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
        holding(reference("b"), **{"$defs": {"b": holding(reference("c")), "c": {"anyOf": [reference("b"), {}]}}}),
        holding({"type": "array", "items": {"$ref": "#/properties/a"}}),
    ],
    ids=[
        "a map",
        "any object",
        "an open object without properties",
        "names by pattern",
        "a tuple",
        "a tuple of old",
        "allOf with a reference",
        "oneOf and anyOf",
        "elsewhere",
        "itself",
        "two that refer to each other",
        "a part of itself",
    ],
)
def test_a_schema_may_be_beyond_the_grammar(schema: dict[str, Any]) -> None:
    assert is_beyond(schema)


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        holding({"type": "object", "properties": {}}),
        holding({"type": "string"}, additionalProperties=True),
        {"type": "array", "items": {"type": "integer"}},
        holding({"type": "object", "anyOf": [CLOSED]}),
        holding({"enum": ["#"], "default": {"$ref": "#"}}),
        {**holding(reference("b"), b=reference("b")), "$defs": {"b": holding(reference("c~1d")), "c/d": CLOSED}},
        holding(reference("nowhere")),
        {"type": "object", "properties": {"not": {"type": "string"}, "$ref": {"type": "string"}}},
    ],
)
def test_a_supported_schema_is_not_beyond_the_grammar(schema: dict[str, Any]) -> None:
    assert not is_beyond(schema)


def test_references_that_fork_again_and_again_are_followed_once() -> None:
    names = [str(number) for number in range(200)]
    defs = {name: {"anyOf": [reference(after), reference(after)]} for name, after in pairwise(names)}

    assert not is_beyond({"$ref": "#/$defs/0", "$defs": defs})


class Name(str):
    """A name that counts how often it is compared."""

    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, str(other))


@pytest.mark.parametrize("work", [load_of, lambda schema: fit(schema, strict=True)], ids=["limits", "strict"])
def test_each_property_is_looked_up_once_among_the_required_ones(work: Callable[[Any], object]) -> None:
    names = [f"p{number}" for number in range(1000)]
    properties: dict[str, Any] = {name: {"type": "string"} for name in names}
    required = [Name(name) for name in reversed(names)]
    Name.compared = 0

    work({"type": "object", "properties": properties, "required": required, "additionalProperties": False})

    assert 0 < Name.compared <= 3 * len(names)


@pytest.mark.parametrize("required", [None, "a", {"a": 1}, [["a"]], [{}]])
def test_a_required_that_is_no_list_of_names_requires_nothing(required: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": required}

    assert load_of(schema) == Load(optional=1)
    with pytest.raises(SchemaError, match="Missing 'a'"):
        fit({**schema, "additionalProperties": False}, strict=True)


def test_a_target_with_many_references_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    subschemas = json_schema.subschemas

    def counting(schema: Any) -> Any:
        read.append(schema)
        return subschemas(schema)

    monkeypatch.setattr(json_schema, "subschemas", counting)

    assert not is_beyond({"anyOf": [{"$ref": f"#{n}/$defs/b"} for n in range(100)], "$defs": {"b": CLOSED}})
    assert read.count(CLOSED) == 1
