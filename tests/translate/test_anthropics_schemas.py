"""Our schemas for Claude's grammar, held to the function with which Anthropic's own client prepares schemas."""

from typing import Any

import pytest
from anthropic import transform_schema

from translate.grammar_limits import beyond_limits
from translate.json_schema import fit, is_beyond

TEXT: dict[str, Any] = {"type": "string"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


CORPUS: dict[str, dict[str, Any]] = {
    "plain": an_object(a=TEXT),
    "open object": {"type": "object"},
    "empty object": {"type": "object", "properties": {}, "additionalProperties": False},
    "map": {"type": "object", "additionalProperties": TEXT},
    "object without a type": {"properties": {"a": TEXT}},
    "optional": {"type": "object", "properties": {"a": TEXT}},
    "bounds": an_object(n={"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2}),
    "lengths": an_object(s={"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"}),
    "known format": an_object(d={"type": "string", "format": "date-time"}),
    "unknown format": an_object(d={"type": "string", "format": "iri"}),
    "a list": an_object(a={"type": "array", "items": TEXT, "minItems": 1}),
    "long lists": an_object(a={"type": "array", "items": TEXT, "minItems": 2, "maxItems": 5, "uniqueItems": True}),
    "tuple": an_object(a={"type": "array", "prefixItems": [TEXT]}),
    "older tuple": an_object(a={"type": "array", "items": [TEXT]}),
    "list of anything": an_object(a={"type": "array"}),
    "enum": an_object(a={"type": "string", "enum": ["x", "y"]}),
    "enum without a type": an_object(a={"enum": ["x", 1, None]}),
    "enum of objects": an_object(a={"enum": [{"b": 1}]}),
    "const": an_object(a={"const": "x"}),
    "const list": an_object(a={"const": [1]}),
    "anyOf": an_object(a={"anyOf": [TEXT, {"type": "null"}]}),
    "oneOf": an_object(a={"oneOf": [TEXT, an_object(b=TEXT)]}),
    "anyOf and oneOf": an_object(a={"anyOf": [TEXT], "oneOf": [TEXT]}),
    "anyOf and allOf": an_object(a={"anyOf": [TEXT], "allOf": [TEXT]}),
    "allOf": an_object(a={"allOf": [an_object(b=TEXT)]}),
    "allOf of a reference": {**an_object(a={"allOf": [{"$ref": "#/$defs/b"}]}), "$defs": {"b": TEXT}},
    "definitions": {**an_object(a={"$ref": "#/$defs/b"}), "$defs": {"b": an_object(c=TEXT)}},
    "reference at the root": {"$ref": "#/$defs/b", "$defs": {"b": an_object(c=TEXT)}},
    "reference to nothing": an_object(a={"$ref": "#/$defs/none"}),
    "recursive": {"type": "object", "properties": {"a": {"$ref": "#"}}},
    "external": an_object(a={"$ref": "https://schemas.example/a.json"}),
    "anything": an_object(a={}),
    "only described": an_object(a={"description": "Any value."}),
    "true": an_object(a=True),
    "list of true": an_object(a={"type": "array", "items": True}),
    "titles": {"title": "T", "description": "D", **an_object(a={"type": "string", "title": "A", "description": "a"})},
    "examples": an_object(a={"type": "string", "examples": ["x"], "deprecated": True, "x-order": 1}),
    "header": {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "a", **an_object(a=TEXT)},
    "encoded": an_object(a={"type": "string", "contentEncoding": "base64"}),
    "not": an_object(a={"not": TEXT}),
    "conditions": {**an_object(a=TEXT), "if": an_object(a=TEXT), "then": {"required": ["a"]}},
    "patterns of names": {"type": "object", "patternProperties": {"^a": TEXT}},
    "property named like a keyword": an_object(type=TEXT, anyOf=TEXT, properties=TEXT, examples=TEXT),
    "nested": an_object(a={"type": "array", "items": an_object(b={"anyOf": [an_object(c=TEXT), {"type": "null"}]})}),
}


def without_words(schema: Any) -> Any:
    """Return a schema without what is for the model to read, which both write in their own way."""
    if isinstance(schema, list):
        return [without_words(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "$defs")
    return {
        word: {key: without_words(inside) for key, inside in value.items()} if word in named else without_words(value)
        for word, value in schema.items()
        # With literals Anthropic's function leaves out the type, which the API accepts.
        if word != "description" and not (word == "type" and {"enum", "const"} & schema.keys())
    }


@pytest.mark.parametrize("name", CORPUS)
def test_what_anthropics_client_would_change_or_refuse_is_changed_or_not_sent_as_a_grammar(name: str) -> None:
    schema = CORPUS[name]
    fitted = fit(schema, strict=False)

    assert is_beyond(schema) or without_words(transform_schema(fitted)) == without_words(fitted)


@pytest.mark.parametrize("name", CORPUS)
def test_a_schema_is_not_given_up_without_need(name: str) -> None:
    """Anthropic's function makes some schemas narrower than they are: then an app would miss what it asked for."""
    narrower = {"open object", "map", "anyOf and allOf", "anyOf and oneOf", "tuple", "older tuple", "not", "conditions"}
    narrower |= {"patterns of names", "recursive", "external", "allOf of a reference"}
    try:
        transform_schema(CORPUS[name])
    except (ValueError, AttributeError, TypeError, AssertionError):
        narrower.add(name)
    # The type follows from the properties. A reference to nothing is the app's own mistake, and OpenAI's 400 too.
    narrower -= {"object without a type", "reference to nothing"}

    assert is_beyond(CORPUS[name]) == (name in narrower)


def test_what_is_left_out_of_the_grammar_is_told_to_the_model() -> None:
    fitted = fit(CORPUS["examples"], strict=False)

    assert fitted["properties"]["a"] == {
        "type": "string",
        "description": "(examples: ['x']; deprecated: True; x-order: 1)",
    }


def test_the_whole_corpus_in_one_request_is_within_the_limits_or_loosened() -> None:
    tools = [
        {"name": f"t{n}", "strict": True, "input_schema": fit(schema, strict=False)}
        for n, schema in enumerate(CORPUS.values())
    ]

    beyond = beyond_limits(tools, None)

    assert len(tools) - len(beyond.tools) == 20
