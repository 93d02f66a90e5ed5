"""What is read of a request has the names that OpenAI's document gives it."""

from typing import Any

import msgspec
import pytest

from tests.translate.responses.test_parameters import CODEX_ITEMS, fields, needs_spec, schemas, types
from translate.responses.asked import Conversation, ResponseRequest
from translate.responses.input_items import ITEMS

__all__ = ["schemas"]

# In the document an id stands where items are returned, not where they are sent; apps send back what was returned.
RETURNED = {"id"}


def read_fields(document: dict[str, Any], tag: str) -> set[str]:
    """Return the fields of every alternative of an input item with this type."""
    found: set[str] = set()
    for part in [*document["BetaInputItem"]["oneOf"], *document["BetaItem"]["oneOf"]]:
        schema = document[part["$ref"].rsplit("/", 1)[1]]
        if "oneOf" not in schema and tag in types(document, schema):
            found |= fields(document, schema)
    return found


@needs_spec
@pytest.mark.parametrize("kind", sorted(set(ITEMS) - CODEX_ITEMS))
def test_an_items_fields_are_openais(kind: str, schemas: dict[str, Any]) -> None:
    assert set(ITEMS[kind].__struct_fields__) <= read_fields(schemas, kind) | RETURNED


@pytest.mark.parametrize("given", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_named_by_its_id_or_by_itself(given: Any) -> None:
    request = msgspec.convert({"model": "m", "conversation": given}, ResponseRequest)

    assert request.conversation_id == "conv_1"
    assert isinstance(request.conversation, str | Conversation)
