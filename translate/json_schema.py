"""JSON Schemas for Claude's constrained decoding.

Claude's grammar supports fewer keywords than OpenAI's strict mode. Bounds and lengths go into the description, which
the model reads (:func:`fit`). Some schemas cannot be expressed in the grammar (:func:`is_beyond`). They go into the
prompt unchanged. Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas,
https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations.
"""

from collections.abc import Iterator, Mapping
from typing import Any

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


# Keywords that the grammar knows. The API refuses others: «For 'string' type, property 'examples' is not supported».
SUPPORTED = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "const", "anyOf"),
        *("allOf", "$ref", "$defs", "definitions", "format", "title", "description", "default"),
    }
)
# They say nothing about the value.
DROPPED = frozenset({"$schema", "$id", "$comment"})
# Keywords of which a schema must have one. Without any it accepts every value, which the grammar cannot express.
_DECIDING = frozenset({"type", "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"})

# Keywords that the grammar lacks, and that a description cannot replace.
BEYOND = frozenset({*REFUSED_WHEN_STRICT, "prefixItems", "unevaluatedItems"}) - {"allOf", "oneOf"}
# Keywords that define an object without listing its properties.
_ELSEWHERE = frozenset({"anyOf", "oneOf", "allOf", "$ref", "enum", "const"})


class SchemaError(ValueError):
    """A schema that OpenAI refuses. The message says where and why, in OpenAI's words."""


def fit(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Return a schema for Claude's grammar. Raises SchemaError if OpenAI's strict mode refuses the schema."""
    if strict and schema.get("type") != "object" and "$ref" not in schema:
        raise SchemaError("schema must be a JSON Schema of 'type: \"object\"'.")
    try:
        fitted: dict[str, Any] = _fitted(schema, (), strict=strict)
    except RecursionError:
        raise SchemaError("it is nested too deeply.") from None
    return fitted


def is_beyond(schema: Mapping[str, Any]) -> bool:
    """Whether Claude's grammar cannot express this schema, or only a narrower one.

    The API refuses recursive schemas («Circular reference detected in schema definitions»), external references, and
    unknown keywords. It also supports only named properties: an object with free property names would always be empty.
    """
    return any(_is_beyond(node) for node in subschemas(schema)) or _is_recursive(schema)


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all its subschemas. References are not followed."""
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


def required_names(node: Mapping[str, Any]) -> frozenset[str]:
    """Return the names in a schema's ``required``; none if it is not a list. A set: both lists may be very long."""
    required = node.get("required")
    return frozenset(name for name in required if isinstance(name, str)) if isinstance(required, list) else frozenset()


def _is_beyond(node: Mapping[str, Any]) -> bool:
    if BEYOND & node.keys() or isinstance(node.get("items"), list) or not _DECIDING & node.keys():
        return True
    if len({"anyOf", "oneOf", "allOf"} & node.keys()) > 1 or _has_any_value(node) or not _are_simple(node):
        return True
    every = node.get("allOf")
    if isinstance(every, list) and any(isinstance(inside, dict) and "$ref" in inside for inside in every):
        return True
    if (reference := node.get("$ref")) is not None and not str(reference).startswith("#"):
        return True
    return _is_object(node) and _has_free_names(node)


def _has_any_value(node: Mapping[str, Any]) -> bool:
    """Whether a subschema is ``true`` or ``false``, which the grammar does not know."""
    below = [node.get("items"), *_values(node.get("properties")), *node.get("anyOf", ()), *node.get("oneOf", ())]
    return any(isinstance(each, bool) for each in below)


def _values(properties: Any) -> list[Any]:
    return list(properties.values()) if isinstance(properties, dict) else []


def _are_simple(node: Mapping[str, Any]) -> bool:
    """Whether the literals of a schema are neither objects nor arrays. The grammar knows no such literals."""
    enum = node.get("enum")
    literals = [*(enum if isinstance(enum, list) else ()), node.get("const")]
    return not any(isinstance(value, (dict, list)) for value in literals)


def _has_free_names(node: Mapping[str, Any]) -> bool:
    more = node.get("additionalProperties")
    if isinstance(more, dict) and more:
        return True
    named = "properties" in node and (more is None or bool(node["properties"]))
    return more is not False and not named and not _ELSEWHERE & node.keys()


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether the references of a schema form a cycle."""
    finished: set[int] = set()

    # By the id of the target: a target has many references, such as #/a and #x/a, and may be large.
    def returns(target: Any, through: tuple[int, ...]) -> bool:
        if id(target) in through:
            return True
        if id(target) in finished:
            return False
        below = (*through, id(target))
        found = any(returns(_target(schema, reference), below) for reference in _references(target))
        finished.add(id(target))
        return found

    return any(returns(_target(schema, reference), ()) for reference in _references(schema))


def _references(node: Any) -> list[str]:
    return [str(inside["$ref"]) for inside in subschemas(node) if "$ref" in inside]


def _target(schema: Any, reference: str) -> Any:
    """Return the target of a reference such as ``#/$defs/a``, or None if there is none."""
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
                # The grammar supports only anyOf. A value that matches oneOf also matches anyOf.
                subs = [_fitted(sub, (*path, word, str(i)), strict=strict) for i, sub in enumerate(value)]
                result["anyOf"] = [*result.get("anyOf", []), *subs]
            case ("minItems", 0 | 1) | ("format", str()) if word == "minItems" or value in FORMATS:
                result[word] = value
            case _ if word in SUPPORTED and word not in ("minItems", "format"):
                result[word] = value
            case _ if word not in DROPPED:
                notes.append(f"{word}: {value}")
            case _:
                pass
    if _is_object(result):
        # The grammar requires this. OpenAI's strict mode requires it too.
        result = {"type": "object", **result, "additionalProperties": False}
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
    required = required_names(node)
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
