"""/v1/conversations: conversations and their items."""

import json
from typing import Any

from api.app import JSON, Service, common_headers, segment, stores_of
from api.client_identity import owner_of
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.server import Exchange, Request
from storage.base import ConflictError, Item, can_be_id
from storage.conversations import Conversation
from storage.pagination import UnknownCursorError
from translate.chat.request import decode_object
from translate.errors import OpenAIError
from translate.responses.input_items import in_full

MAX_ITEMS = 20
"""How many items OpenAI takes at once."""


async def create_conversation(service: Service, request: Request, exchange: Exchange) -> None:
    """Begin a conversation, with some items or none."""
    fields = decode_object(request.body) if request.body else {}
    items, metadata = _items(fields, required=False), metadata_of(fields)
    try:
        made = await stores_of(service).conversations.create(owner_of(request), metadata, items)
    except ConflictError as error:
        raise _taken(error) from error
    await _respond(exchange, _object(made))


async def get_conversation(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer with a conversation."""
    id = segment(request, 2)
    found = await stores_of(service).conversations.get(id, owner_of(request))
    await _respond(exchange, _object(_there(found, id)))


async def update_conversation(service: Service, request: Request, exchange: Exchange) -> None:
    """Put other metadata in the place of a conversation's."""
    id, fields = segment(request, 2), decode_object(request.body)
    if "metadata" not in fields:
        raise OpenAIError(
            "Missing required parameter: 'metadata'.", param="metadata", code="missing_required_parameter"
        )
    found = await stores_of(service).conversations.update(id, owner_of(request), metadata_of(fields))
    await _respond(exchange, _object(_there(found, id)))


async def delete_conversation(service: Service, request: Request, exchange: Exchange) -> None:
    """Delete a conversation."""
    id = segment(request, 2)
    if not await stores_of(service).conversations.delete(id, owner_of(request)):
        raise _unknown(id)
    await _respond(exchange, {"id": id, "object": "conversation.deleted", "deleted": True})


async def list_items(service: Service, request: Request, exchange: Exchange) -> None:
    """List a conversation's items."""
    id, asked = segment(request, 2), asked_of(request.query)
    try:
        page = await stores_of(service).conversations.list_items(
            id, owner_of(request), after=asked.after, limit=asked.limit, order=asked.order
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    page = _there(page, id)
    await exchange.respond(200, [JSON, *common_headers()], listed(page.data, has_more=page.has_more))


async def add_items(service: Service, request: Request, exchange: Exchange) -> None:
    """Add items to a conversation."""
    id, items = segment(request, 2), _items(decode_object(request.body), required=True)
    try:
        added = await stores_of(service).conversations.add_items(id, owner_of(request), items)
    except ConflictError as error:
        raise _taken(error) from error
    await exchange.respond(200, [JSON, *common_headers()], listed(_there(added, id), has_more=False))


async def get_item(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer with an item."""
    id, item_id = segment(request, 2), segment(request, 4)
    found = await stores_of(service).conversations.get_item(id, owner_of(request), item_id)
    await _respond(exchange, _there(found, item_id, "Item"))


async def delete_item(service: Service, request: Request, exchange: Exchange) -> None:
    """Delete an item, and answer with its conversation."""
    id, item_id = segment(request, 2), segment(request, 4)
    found = await stores_of(service).conversations.delete_item(id, owner_of(request), item_id)
    await _respond(exchange, _object(_there(found, item_id, "Item")))


async def _respond(exchange: Exchange, body: Any) -> None:
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


def _object(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": conversation.metadata,
    }


def metadata_of(fields: dict[str, Any]) -> dict[str, Any]:
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


def _items(fields: dict[str, Any], *, required: bool) -> list[Item]:
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
