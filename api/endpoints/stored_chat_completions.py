"""Stored chat completions: /v1/chat/completions by id, for those that were asked for with ``store: true``."""

import json
from typing import Any

from api.answer_headers import JSON, common_headers
from api.endpoints.conversations import metadata_of
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.request import ApiRequest
from storage.chat_completions import KeptChat
from storage.pagination import UnknownCursorError
from storage.stores import Stores
from translate.chat.parameters import refuse_unknown
from translate.errors import OpenAIError


async def list_chats(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the completions: those of a model, and those whose metadata has all the values asked for."""
    asked = asked_of(request.query, order="asc")
    metadata = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in asked.others.items()
        if name.startswith("metadata[")
    }
    try:
        page = await stores.chats.list(
            request.identity.owner,
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


async def get_chat(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a completion."""
    id = request.params["id"]
    found = await stores.chats.get(id, request.identity.owner)
    await _respond(exchange, _object(_there(found, id)))


async def update_chat(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Put other metadata in the place of a completion's."""
    id, fields = request.params["id"], request.json
    refuse_unknown(fields, ("metadata",))
    if "metadata" not in fields:
        raise OpenAIError(
            "Missing required parameter: 'metadata'.", param="metadata", code="missing_required_parameter"
        )
    found = await stores.chats.update(id, request.identity.owner, metadata_of(fields))
    await _respond(exchange, _object(_there(found, id)))


async def delete_chat(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete a completion."""
    id = request.params["id"]
    if not await stores.chats.delete(id, request.identity.owner):
        raise _unknown(id)
    await _respond(exchange, {"id": id, "object": "chat.completion.deleted", "deleted": True})


async def list_messages(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the messages that a completion was asked with."""
    id, asked = request.params["id"], asked_of(request.query, order="asc")
    try:
        page = await stores.chats.messages(
            id, request.identity.owner, after=asked.after, limit=asked.limit, order=asked.order
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    page = _there(page, id)
    await exchange.respond(200, [JSON, *common_headers()], listed(page.data, has_more=page.has_more))


def _object(chat: KeptChat) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chat.body)
    return {**body, "metadata": chat.metadata}


async def _respond(exchange: Responder, body: Any) -> None:
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


def _there[T](found: T | None, id: str) -> T:
    if found is None:
        raise _unknown(id)
    return found


def _unknown(id: str) -> OpenAIError:
    return OpenAIError(f"Completion with id '{id}' not found.", status=404)
