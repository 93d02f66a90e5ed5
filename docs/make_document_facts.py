"""Writes conform/facts/document.json: the facts that `understudy conform` needs of OpenAI's OpenAPI document.

`uv run python docs/make_document_facts.py openapi.yaml COMMIT DATE`, with the commit and the day of the document in
https://github.com/openai/openai-openapi. Names of keys, types and enumerations are kept; texts and examples are not.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).parents[1] / "conform" / "facts" / "document.json"

ROOTS = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Model",
    "Response",
    "ResponseStreamEvent",
)
"""The schemas of what a server sends."""

ECHOED = {"InputItem", "InputParam", "Prompt", "TextResponseFormatConfiguration", "Tool", "ToolChoiceParam"}
"""Schemas of what a response repeats from its request. Their inside is the app's and is not judged."""


class Extract:
    """Makes the table of shapes. A shape is an object: its keys with their types, and which keys are required.

    A type is the name of a JSON type, ``any``, ``map`` (an object with keys of its own), ``@NAME`` of a shape,
    ``{"list": type}``, ``{"enum": [values]}`` or ``{"any of": [types]}``.
    """

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas
        self.shapes: dict[str, Any] = {}
        self.types: dict[str, Any] = {}

    def root(self, name: str) -> None:
        """Add a schema under its own name."""
        self.types[name] = self._type({"$ref": f"#/{name}"}, name)

    def _type(self, schema: dict[str, Any], name: str) -> Any:
        """Return the type of a schema. ``name`` is given to an object that has no name of its own."""
        if schema.get("nullable"):
            rest = {key: value for key, value in schema.items() if key != "nullable"}
            return _any_of([self._type(rest, name), "null"])
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return "any" if name in ECHOED else self._type(self._schemas[name], name)
        if several := schema.get("anyOf") or schema.get("oneOf"):
            # Objects that stand beside each other without names get numbers.
            nameless = [one for one in several if "properties" in one]
            names = [name if len(nameless) < 2 else f"{name}.{n}" for n, _ in enumerate(several)]
            return _any_of([self._type(one, own) for one, own in zip(several, names, strict=True)])
        if "enum" in schema or "const" in schema:
            return {"enum": schema.get("enum", [schema.get("const")])}
        if isinstance(schema.get("type"), list):
            return _any_of([self._type({**schema, "type": one}, name) for one in schema["type"]])
        if "allOf" in schema or schema.get("properties"):
            return self._shape(schema, name)
        match schema.get("type"):
            case "array":
                return {"list": self._type(schema.get("items", {}), name)}
            case "object":
                return "map"
            case None:
                return "any"
            case other:
                return other

    def _shape(self, schema: dict[str, Any], name: str) -> str:
        if name not in self.shapes:
            self.shapes[name] = {}  # a shape may contain itself
            keys, required = self._parts(schema)
            self.shapes[name] = {
                "required": sorted(required & set(keys)),
                "keys": {key: self._type(value, f"{name}.{key}") for key, value in keys.items()},
            }
        return f"@{name}"

    def _parts(self, schema: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """Return the keys of an object and which are required, together with those of the schemas that it extends."""
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        keys: dict[str, Any] = {}
        required = set(schema.get("required", []))
        for part in schema.get("allOf", []):
            more, needed = self._parts(part)
            keys |= more
            required |= needed
        return keys | schema.get("properties", {}), required


def _any_of(types: list[Any]) -> Any:
    """Return a type that allows each of several. A string that may be any makes a list of strings needless."""
    flat = [
        one for type in types for one in (type["any of"] if isinstance(type, dict) and "any of" in type else [type])
    ]
    if "any" in flat:
        return "any"
    values = sorted({value for one in flat if isinstance(one, dict) for value in one.get("enum", [])}, key=str)
    kept = [one for one in flat if not (isinstance(one, dict) and "enum" in one)]
    if values and "string" not in kept:
        kept.append({"enum": values})
    unique = [one for n, one in enumerate(kept) if one not in kept[:n]]
    return unique[0] if len(unique) == 1 else {"any of": unique}


def facts(document: dict[str, Any], commit: str, date: str) -> dict[str, Any]:
    """Return the table."""
    extract = Extract(document["components"]["schemas"])
    for name in ROOTS:
        extract.root(name)
    return {
        "source": "https://github.com/openai/openai-openapi",
        "commit": commit,
        "date": date,
        "version": document["info"]["version"],
        "types": extract.types,
        "shapes": dict(sorted(extract.shapes.items())),
    }


def text(table: dict[str, Any]) -> str:
    """Return the table as JSON, one shape a line."""
    parts = []
    for name, value in table.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in value.items())
            parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    path, commit, date = sys.argv[1:]
    document = yaml.load(Path(path).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    FACTS.write_text(text(facts(document, commit, date)), encoding="utf-8")
