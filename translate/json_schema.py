"""JSON Schemas as Claude's constrained decoding takes them.

Claude's grammar knows fewer keywords than OpenAI's strict mode does: bounds and lengths go into the description, where
the model reads them (:func:`fit`). A schema whose point the grammar would miss is not for it (:func:`is_beyond`), and
the model is told of it as it is. Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas,
https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations.
"""

from collections.abc import Iterator, Mapping
from typing import Any

# Keywords that Claude's grammar does not know but a reader understands.
DESCRIBED = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
# String formats that the grammar enforces.
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
# OpenAI: «Some type-specific keywords are not yet supported», in strict mode.
REFUSED_WHEN_STRICT = (
    "allOf",
    "oneOf",
    "not",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
)


# What the grammar does not have, and a description does not tell.
BEYOND = frozenset({*REFUSED_WHEN_STRICT, "prefixItems", "unevaluatedItems"}) - {"allOf", "oneOf"}
# What says what an object is without naming its properties.
_ELSEWHERE = frozenset({"anyOf", "oneOf", "allOf", "$ref", "enum", "const"})


class SchemaError(ValueError):
    """A schema that OpenAI refuses. The message says where and why, in OpenAI's words."""


def fit(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Return a schema as Claude's grammar takes it. Raises SchemaError for what OpenAI's strict mode refuses."""
    if strict and schema.get("type") != "object" and "$ref" not in schema:
        raise SchemaError("schema must be a JSON Schema of 'type: \"object\"'.")
    try:
        fitted: dict[str, Any] = _fitted(schema, (), strict=strict)
    except RecursionError:
        raise SchemaError("it is nested too deeply.") from None
    return fitted


def is_beyond(schema: Mapping[str, Any]) -> bool:
    """Whether Claude's grammar cannot hold an answer to this schema, or only to less than it allows.

    The API refuses what refers to itself («Circular reference detected in schema definitions»), references to
    elsewhere, and keywords that it does not know; and it takes objects of named properties alone, so one whose names
    are free could only ever be empty.
    """
    return any(_is_beyond(node) for node in _nodes(schema)) or _is_recursive(schema)


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all those in it. References are not followed."""
    left = [schema]
    while left:
        node = left.pop()
        if not isinstance(node, dict):
            continue
        yield node
        for word, value in node.items():
            match word, value:
                case ("properties" | "$defs" | "definitions", dict()):
                    left += value.values()
                case ("anyOf" | "allOf" | "oneOf", list()):
                    left += value
                case ("items", _):
                    left.append(value)
                case _:
                    pass


def _is_beyond(node: Mapping[str, Any]) -> bool:
    if BEYOND & node.keys() or isinstance(node.get("items"), list) or {"anyOf", "oneOf"} <= node.keys():
        return True
    every = node.get("allOf")
    if isinstance(every, list) and any(isinstance(inside, dict) and "$ref" in inside for inside in every):
        return True
    if (reference := node.get("$ref")) is not None and not str(reference).startswith("#"):
        return True
    return _is_object(node) and _has_free_names(node)


def _has_free_names(node: Mapping[str, Any]) -> bool:
    more = node.get("additionalProperties")
    if isinstance(more, dict) and more:
        return True
    named = "properties" in node and (more is None or bool(node["properties"]))
    return more is not False and not named and not _ELSEWHERE & node.keys()


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether following references leads back to one of them."""
    finished: set[str] = set()

    def returns(reference: str, through: tuple[str, ...]) -> bool:
        if reference in through:
            return True
        if reference in finished:
            return False
        found = any(returns(inside, (*through, reference)) for inside in _references(_target(schema, reference)))
        finished.add(reference)
        return found

    return any(returns(reference, ()) for reference in _references(schema))


def _references(node: Any) -> list[str]:
    return [str(inside["$ref"]) for inside in _nodes(node) if "$ref" in inside]


def _target(schema: Any, reference: str) -> Any:
    """Return what a reference such as ``#/$defs/a`` refers to; None for nothing."""
    for step in reference.removeprefix("#").split("/")[1:]:
        schema = schema.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return schema


def _fitted(node: Any, path: tuple[str, ...], *, strict: bool) -> Any:
    if not isinstance(node, dict):
        return node
    if strict:
        _check_strict(node, path)
    result: dict[str, Any] = {}
    notes = []
    for word, value in node.items():
        match word, value:
            case ("properties" | "$defs" | "definitions", dict()):
                result[word] = {key: _fitted(sub, (*path, word, key), strict=strict) for key, sub in value.items()}
            case ("items", dict()):
                result[word] = _fitted(value, (*path, word), strict=strict)
            case ("anyOf" | "allOf", list()):
                result[word] = [_fitted(sub, (*path, word, str(i)), strict=strict) for i, sub in enumerate(value)]
            case ("oneOf", list()):
                # The grammar knows anyOf. A value that fits one alternative fits it there too.
                subs = [_fitted(sub, (*path, word, str(i)), strict=strict) for i, sub in enumerate(value)]
                result["anyOf"] = [*result.get("anyOf", []), *subs]
            case ("minItems", 0 | 1) | ("format", str()) if word == "minItems" or value in FORMATS:
                result[word] = value
            case _ if word in DESCRIBED or word == "format":
                notes.append(f"{word}: {value}")
            case _:
                result[word] = value
    if _is_object(result):
        # The grammar needs it said; OpenAI's strict mode demands it anyway.
        result["additionalProperties"] = False
    if notes:
        result["description"] = " ".join([*filter(None, [result.get("description")]), f"({'; '.join(notes)})"])
    return result


def _check_strict(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
    if word := next((word for word in REFUSED_WHEN_STRICT if word in node), None):
        raise _refused(f"'{word}' is not permitted", path)
    if not _is_object(node):
        return
    if node.get("additionalProperties") is not False:
        raise _refused("'additionalProperties' is required to be supplied and to be false", path)
    properties = node.get("properties", {})
    required = node.get("required", [])
    missing = [key for key in properties if key not in required] if isinstance(properties, dict) else []
    if missing:
        why = (
            "'required' is required to be supplied and to be an array including every key in properties."
            f" Missing '{missing[0]}'"
        )
        raise _refused(why, path)


def _is_object(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node


def _refused(why: str, path: tuple[str, ...]) -> SchemaError:
    context = "(" + ", ".join(repr(step) for step in path) + ")"
    return SchemaError(f"In context={context}, {why}.")
