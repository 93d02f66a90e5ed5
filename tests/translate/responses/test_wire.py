"""The Structs have the fields that OpenAI's document gives them."""

import typing
from typing import Any

import pytest

from tests.translate.responses.test_parameters import fields, needs_spec, schemas, types
from translate.responses import wire

__all__ = ["schemas"]

# What OpenAI sends and its document has not: where its SDKs look for an error, and how far a call is.
SENT = {"error": {"error"}, "custom_tool_call": {"status"}}


def kinds(union: Any) -> list[Any]:
    return list(typing.get_args(union.__value__))


def required(document: dict[str, Any], kind: str, tag: str) -> tuple[set[str], set[str]]:
    """Return the fields, and those of them that must be there, of the alternative of a schema with this tag."""
    for part in document[kind].get("anyOf", document[kind].get("oneOf")):
        schema = document[part["$ref"].rsplit("/", 1)[1]]
        if types(document, schema) == {tag}:
            return fields(document, schema), set(schema.get("required", []))
    raise LookupError(tag)


@needs_spec
@pytest.mark.parametrize("struct", [*kinds(wire.ResponseEvent), *kinds(wire.OutputItem)], ids=lambda s: s.__name__)
def test_a_struct_has_openais_fields(struct: Any, schemas: dict[str, Any]) -> None:
    tag = struct.__struct_config__.tag
    kind = "OutputItem" if struct in kinds(wire.OutputItem) else "ResponseStreamEvent"
    allowed, needed = required(schemas, kind, tag)

    # Recorded answers have it at every kind of delta. The document has it at one.
    allowed |= {"obfuscation"} if tag.endswith(".delta") else set()
    ours = {*struct.__struct_fields__, "type"} - SENT.get(tag, set())
    assert needed <= ours <= allowed
