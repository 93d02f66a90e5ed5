"""Makes one valid value for a JSON schema. The rehearsal uses it as the arguments of tool calls. Pure, deterministic.

Supported are object (all properties; only the required ones if nested deeply), array, string, number, integer,
boolean, null, enum, const, anyOf and oneOf (the first alternative), allOf, $ref inside the document, and the limits of
each. Not supported are pattern, not, if, dependencies and unknown formats.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

type Schema = Mapping[str, Any] | bool

MAX_DEPTH = 5
_LIMIT = 24  # values that are nested more deeply are null, {} or []
_MAX_ITEMS = 50
_FORMATS = {
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "rehearsal@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/rehearsal",
    "uri-reference": "/rehearsal",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


def example(schema: Schema) -> Any:
    """Return a value that is valid by the schema."""
    return _value(schema, schema, "text", 0)


def _value(schema: Schema, root: Schema, name: str, depth: int) -> Any:
    if isinstance(schema, bool) or depth > _LIMIT:
        return None
    schema = _merged(schema, root, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    match _type_of(schema):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, name, depth)
        case "string":
            return _string(schema, name)
        case "integer" | "number" as kind:
            return _number(schema, kind)
        case "boolean":
            return True
    return None


def _merged(schema: Mapping[str, Any], root: Schema, depth: int) -> Mapping[str, Any]:
    """Merge $ref, allOf and the chosen alternative into one schema."""
    merged = dict(schema)
    for _ in range(_LIMIT):
        parts: list[Schema] = []
        if "$ref" in merged:
            parts.append(_resolve(merged.pop("$ref"), root))
        parts += merged.pop("allOf", [])
        for key in ("anyOf", "oneOf"):
            if merged.get(key):
                parts.append(_alternative(merged.pop(key), depth))
        if not parts:
            return merged
        for part in parts:
            merged = _both(merged, part)
    return merged


def _both(one: dict[str, Any], other: Schema) -> dict[str, Any]:
    if isinstance(other, bool):
        return one
    both = {**other, **one}
    if "properties" in one and "properties" in other:
        both["properties"] = {**other["properties"], **one["properties"]}
        for name in one["properties"].keys() & other["properties"].keys():
            both["properties"][name] = {"allOf": [one["properties"][name], other["properties"][name]]}
    for key in ("required", "allOf"):
        if key in one and key in other:
            both[key] = [*one[key], *(item for item in other[key] if item not in one[key])]
    return both


def _alternative(alternatives: list[Schema], depth: int) -> Schema:
    """Choose the first alternative. If nested deeply, choose one that ends the recursion."""
    if depth > MAX_DEPTH:
        ends = [part for part in alternatives if isinstance(part, Mapping) and "$ref" not in part]
        nulls = [part for part in ends if isinstance(part, Mapping) and part.get("type") == "null"]
        return (nulls or ends or alternatives)[0]
    return alternatives[0]


def _resolve(ref: str, root: Schema) -> Schema:
    found: Any = root
    for part in unquote(ref).removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, Mapping) and key in found:
            found = found[key]
        else:
            return {}
    return found if isinstance(found, Mapping | bool) else {}


def _type_of(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((word for word in kind if word != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "string"


def _object(schema: Mapping[str, Any], root: Schema, depth: int) -> dict[str, Any]:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    required = list(schema.get("required") or [])
    names = required if depth >= MAX_DEPTH else [*properties, *(name for name in required if name not in properties)]
    value = {name: _value(properties.get(name, {}), root, name, depth + 1) for name in names}
    rest = schema.get("additionalProperties", True)
    for index in range(schema.get("minProperties", 0) - len(value)):
        value[f"rehearsed_{index + 1}"] = _value(rest, root, "text", depth + 1)
    return value


def _array(schema: Mapping[str, Any], root: Schema, name: str, depth: int) -> list[Any]:
    first: list[Schema] = schema.get("prefixItems") or []
    wanted = max(schema.get("minItems", 0), len(first) or (1 if depth < MAX_DEPTH else 0))
    wanted = min(wanted, schema.get("maxItems", wanted), max(_MAX_ITEMS, schema.get("minItems", 0)))
    items = [_value(part, root, name, depth + 1) for part in first[:wanted]]
    while len(items) < wanted:
        items.append(_value(schema.get("items", True), root, name, depth + 1))
    return _unlike(items, schema, root) if schema.get("uniqueItems") else items


def _unlike(items: list[Any], schema: Mapping[str, Any], root: Schema) -> list[Any]:
    """Make equal items different, if their type allows it."""
    part = schema.get("items", {})
    choices = _merged(part, root, 0).get("enum") if isinstance(part, Mapping) else None
    seen: set[str] = set()
    for index, item in enumerate(items):
        if choices and index < len(choices):
            items[index] = choices[index]
        elif json.dumps(item) in seen:
            if isinstance(item, str):
                items[index] = f"{item} {index + 1}"
            elif isinstance(item, int | float) and not isinstance(item, bool):
                items[index] = item + index
        seen.add(json.dumps(items[index]))
    return items


def _string(schema: Mapping[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), f"rehearsed {name}")
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any], kind: str) -> int | float:
    step = schema.get("multipleOf") or (1 if kind == "integer" else None)
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    lows = [bound for bound in (low, None if above is None else above + (step or 0.5)) if bound is not None]
    highs = [bound for bound in (high, None if below is None else below - (step or 0.5)) if bound is not None]
    if not step and above is not None and highs and max(lows) > min(highs):
        return float(above + min(bound for bound in (high, below) if bound is not None)) / 2
    value: int | float = max([1, *lows]) if not highs or max([1, *lows]) <= min(highs) else min(highs)
    if step:
        value = -(-value // step) * step
        while highs and value > min(highs):
            value -= step
    return int(value) if kind == "integer" else value
