"""JSON Schemas as Claude's constrained decoding takes them.

Claude's grammar knows fewer keywords than OpenAI's strict mode does: bounds and lengths go into the description, where
the model reads them. Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas,
https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations.
"""

from collections.abc import Mapping
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


class SchemaError(ValueError):
    """A schema that OpenAI refuses. The message says where and why, in OpenAI's words."""


def fit(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Return a schema as Claude's grammar takes it. Raises SchemaError for what OpenAI's strict mode refuses."""
    if strict and schema.get("type") != "object" and "$ref" not in schema:
        raise SchemaError("schema must be a JSON Schema of 'type: \"object\"'.")
    fitted: dict[str, Any] = _fitted(schema, (), strict=strict)
    return fitted


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
