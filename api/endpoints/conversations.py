"""/v1/conversations: conversations and their items."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.answer_headers import IGNORED_HEADER, JSON, common_headers
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.request import ApiRequest
from storage.base import ConflictError, Item, can_be_id
from storage.conversations import Conversation
from storage.pagination import UnknownCursorError
from storage.stores import Stores
from translate.chat.parameters import refuse_unknown
from translate.errors import OpenAIError
from translate.known_keys import ignored_keys, keys, report
from translate.responses.input_items import in_full
from translate.responses.known_keys import INPUT

MAX_ITEMS = 20
"""How many items OpenAI accepts in one request."""


async def create_conversation(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Create a conversation, with or without items."""
    fields = request.json if request.has_body else {}
    refuse_unknown(fields, ("items", "metadata"))
    items, metadata = _items(fields, required=False), metadata_of(fields)
    try:
        made = await stores.conversations.create(request.identity.owner, metadata, items)
    except ConflictError as error:
        raise _taken(error) from error
    await _respond(exchange, _object(made), _ignored(fields))


async def get_conversation(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a conversation."""
    id = request.params["id"]
    found = await stores.conversations.get(id, request.identity.owner)
    await _respond(exchange, _object(_there(found, id)))


async def update_conversation(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Replace a conversation's metadata."""
    id, fields = request.params["id"], request.json
    refuse_unknown(fields, ("metadata",))
    if "metadata" not in fields:
        raise OpenAIError(
            "Missing required parameter: 'metadata'.", param="metadata", code="missing_required_parameter"
        )
    found = await stores.conversations.update(id, request.identity.owner, metadata_of(fields))
    await _respond(exchange, _object(_there(found, id)))


async def delete_conversation(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete a conversation."""
    id = request.params["id"]
    if not await stores.conversations.delete(id, request.identity.owner):
        raise _unknown(id)
    await _respond(exchange, {"id": id, "object": "conversation.deleted", "deleted": True})


async def list_items(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List a conversation's items."""
    id, asked = request.params["id"], asked_of(request.query)
    try:
        page = await stores.conversations.list_items(
            id, request.identity.owner, after=asked.after, limit=asked.limit, order=asked.order
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    page = _there(page, id)
    await exchange.respond(200, [JSON, *common_headers()], listed(page.data, has_more=page.has_more))


async def add_items(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Add items to a conversation."""
    id, fields = request.params["id"], request.json
    refuse_unknown(fields, ("items",))
    items = _items(fields, required=True)
    try:
        added = await stores.conversations.add_items(id, request.identity.owner, items)
    except ConflictError as error:
        raise _taken(error) from error
    headers = [JSON, *common_headers(), *_ignored(fields)]
    await exchange.respond(200, headers, listed(_there(added, id), has_more=False))


async def get_item(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with an item."""
    id, item_id = request.params["id"], request.params["item_id"]
    found = await stores.conversations.get_item(id, request.identity.owner, item_id)
    await _respond(exchange, _there(found, item_id, "Item"))


async def delete_item(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete an item, and answer with its conversation."""
    id, item_id = request.params["id"], request.params["item_id"]
    found = await stores.conversations.delete_item(id, request.identity.owner, item_id)
    await _respond(exchange, _object(_there(found, item_id, "Item")))


async def _respond(exchange: Responder, body: Any, more: Sequence[tuple[str, str]] = ()) -> None:
    await exchange.respond(200, [JSON, *common_headers(), *more], json.dumps(body).encode())


def _ignored(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the header that names the keys of items that Claude will not be told of. They are kept all the same."""
    found = ignored_keys(fields, keys("metadata", items=INPUT))
    return [(IGNORED_HEADER, report(found))] if found else []


def _object(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": conversation.metadata,
    }


def metadata_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request's metadata. Raises OpenAIError (400) unless it is 16 short texts at most, as OpenAI has it."""
    metadata = fields.get("metadata")
    if metadata is None:
        return {}
    sound = isinstance(metadata, dict) and len(metadata) <= 16
    if not sound or any(not isinstance(v, str) or len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
        raise OpenAIError(
            "Invalid 'metadata': up to 16 pairs are expected, of keys up to 64 and texts up to 512 characters.",
            param="metadata",
            code="invalid_type",
        )
    return dict(metadata)


def _items(fields: Mapping[str, Any], *, required: bool) -> list[Item]:
    """Return a request's items, which must be such as a response's input may have. Raises OpenAIError (400)."""
    items = fields.get("items")
    if items is None and not required:
        return []
    if not isinstance(items, list):
        raise OpenAIError("Invalid 'items': a list is expected.", param="items", code="invalid_type")
    if len(items) > MAX_ITEMS:
        raise OpenAIError(
            f"Invalid 'items': up to {MAX_ITEMS} are expected.", param="items", code="array_above_max_length"
        )
    return [_item(item, place) for place, item in enumerate(items)]


def _item(item: Any, place: int) -> Item:
    """Return an item in its long form. Raises OpenAIError (400) unless it is one."""
    if not isinstance(item, dict) or not (isinstance(item.get("type"), str) or isinstance(item.get("role"), str)):
        raise OpenAIError(
            f"Invalid 'items[{place}]': an object with a type or a role is expected.",
            param=f"items[{place}]",
            code="invalid_type",
        )
    id = item.get("id")
    sound = {"type": isinstance(item.get("type", ""), str), "id": not id or (isinstance(id, str) and can_be_id(id))}
    if wrong := next((field for field, is_sound in sound.items() if not is_sound), None):
        path = f"items[{place}].{wrong}"
        raise OpenAIError(f"Invalid '{path}': a short text is expected.", param=path, code="invalid_value")
    return in_full(item)


def _there[T](found: T | None, id: str, what: str = "Conversation") -> T:
    if found is None:
        raise _unknown(id, what)
    return found


def _unknown(id: str, what: str = "Conversation") -> OpenAIError:
    return OpenAIError(f"{what} with id '{id}' not found.", status=404)


def _taken(error: ConflictError) -> OpenAIError:
    return OpenAIError(str(error), param="items", code="invalid_value")
