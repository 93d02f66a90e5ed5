"""Stored chat completions: /v1/chat/completions by id, for those that were asked for with ``store: true``."""

import json
from typing import Any

from api.app import JSON, Service, common_headers, segment, stores_of
from api.client_identity import owner_of
from api.endpoints.conversations import metadata_of
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.server import Exchange, Request
from storage.chat_completions import KeptChat
from storage.pagination import UnknownCursorError
from translate.chat.request import decode_object
from translate.errors import OpenAIError


async def list_chats(service: Service, request: Request, exchange: Exchange) -> None:
    """List the completions: those of a model, and those whose metadata has all the values asked for."""
    asked = asked_of(request.query, order="asc")
    metadata = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in asked.others.items()
        if name.startswith("metadata[")
    }
    try:
        page = await stores_of(service).chats.list(
            owner_of(request),
            after=asked.after,
            limit=asked.limit,
            order=asked.order,
            model=asked.others.get("model"),
            metadata=metadata,
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    data = [_object(chat) for chat in page.data]
    await exchange.respond(200, [JSON, *common_headers()], listed(data, has_more=page.has_more))


async def get_chat(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer with a completion."""
    id = segment(request, 3)
    found = await stores_of(service).chats.get(id, owner_of(request))
    await _respond(exchange, _object(_there(found, id)))


async def update_chat(service: Service, request: Request, exchange: Exchange) -> None:
    """Put other metadata in the place of a completion's."""
    id, fields = segment(request, 3), decode_object(request.body)
    if "metadata" not in fields:
        raise OpenAIError(
            "Missing required parameter: 'metadata'.", param="metadata", code="missing_required_parameter"
        )
    found = await stores_of(service).chats.update(id, owner_of(request), metadata_of(fields))
    await _respond(exchange, _object(_there(found, id)))


async def delete_chat(service: Service, request: Request, exchange: Exchange) -> None:
    """Delete a completion."""
    id = segment(request, 3)
    if not await stores_of(service).chats.delete(id, owner_of(request)):
        raise _unknown(id)
    await _respond(exchange, {"id": id, "object": "chat.completion.deleted", "deleted": True})


async def list_messages(service: Service, request: Request, exchange: Exchange) -> None:
    """List the messages that a completion was asked with."""
    id, asked = segment(request, 3), asked_of(request.query, order="asc")
    try:
        page = await stores_of(service).chats.messages(
            id, owner_of(request), after=asked.after, limit=asked.limit, order=asked.order
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    page = _there(page, id)
    await exchange.respond(200, [JSON, *common_headers()], listed(page.data, has_more=page.has_more))


def _object(chat: KeptChat) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chat.body)
    return {**body, "metadata": chat.metadata}


async def _respond(exchange: Exchange, body: Any) -> None:
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


def _there[T](found: T | None, id: str) -> T:
    if found is None:
        raise _unknown(id)
    return found


def _unknown(id: str) -> OpenAIError:
    return OpenAIError(f"Completion with id '{id}' not found.", status=404)
