"""Sessions: the proxy stores the conversation so far, and the app sends only new messages.

``session_id`` in the body of a chat completion request, or the header ``x-understudy-session``, names one. This is an
extension of OpenAI's API for apps that store no history.
"""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from api.answer_headers import JSON, common_headers
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.parts import required
from api.request import ApiRequest
from storage.base import ConflictError, Item, can_be_id
from storage.database import StoreError
from storage.leases import BusyError
from storage.pagination import UnknownCursorError
from storage.sessions import SessionStats
from storage.stores import Stores
from translate.chat.wire import ChatCompletion
from translate.errors import OpenAIError

log = logging.getLogger(__name__)

SESSION_HEADER = "x-understudy-session"
FIELD = "session_id"

NOT_KEPT = "The answer could not be kept in its session, which is as it was before. Try again in a moment."


@dataclass(slots=True)
class InSession:
    """A request with the messages of its session. ``new`` are the messages that it adds to the session."""

    request: ApiRequest
    stores: Stores | None = None
    owner: str = ""
    id: str = ""
    version: str = ""
    new: tuple[Item, ...] = ()

    async def keep(self, completion: ChatCompletion) -> None:
        """Store the new messages and the answer.

        Raises OpenAIError: 503 if the store fails, 409 if another request has changed the session, 400 if the messages
        cannot be stored. It must fail, because the app stores no history: its session would lack the answer.
        """
        if self.stores is None:
            return
        message = msgspec.to_builtins(completion.choices[0].message)
        told = {name: value for name, value in message.items() if value is not None}
        said: list[Item] = [*self.new, {**told, "content": message.get("content")}]
        try:
            tokens = completion.usage.total_tokens
            self.version = await self.stores.sessions.append(self.owner, self.id, said, self.version, tokens=tokens)
        except StoreError as error:
            log.warning("the session could not be kept: %s", error)
            raise OpenAIError(
                NOT_KEPT, status=503, type="server_error", param=FIELD, code="session_not_kept"
            ) from error
        except ConflictError as error:
            why = "The session went on meanwhile, and does not have this answer."
            raise OpenAIError(why, status=409, param=FIELD, code="session_in_use") from error
        except ValueError as error:
            log.warning("the session could not be kept: %s", error)
            why = f"The answer could not be kept in its session: {error}."
            raise OpenAIError(why, param=FIELD, code="session_not_kept") from error


@contextlib.asynccontextmanager
async def in_session(stores: Stores | None, request: ApiRequest) -> AsyncIterator[InSession]:
    """Yield a request with the messages of its session, and lock the session. Raises OpenAIError (409) if in use."""
    id = named_in(request)
    if id is None:
        yield InSession(request)
        return
    stores, owner = required(stores), request.identity.owner
    if not can_be_id(id):
        raise OpenAIError("Invalid 'session_id': up to 512 printable characters.", param=FIELD, code="invalid_value")
    fields = dict(request.json)
    new = fields.get("messages")
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(stores.sessions.hold(owner, id, wait_s=stores.wait_s))
            session = await stores.sessions.load(owner, id)
        except BusyError as error:
            raise OpenAIError(
                "Another request of this session is being answered.", status=409, param=FIELD, code="session_in_use"
            ) from error
        if isinstance(new, list):
            fields["messages"] = [*session.messages, *new]
        fields.pop(FIELD, None)
        items = tuple(item for item in new if isinstance(item, dict)) if isinstance(new, list) else ()
        yield InSession(request.with_json(fields), stores, owner, id, session.version, items)


def named_in(request: ApiRequest) -> str | None:
    """Return the session id in a request, or None. Raises OpenAIError (400) if it is not a string."""
    header = request.header(SESSION_HEADER)
    if header is not None:
        return header
    value = request.json.get(FIELD)
    if value is not None and not isinstance(value, str):
        raise OpenAIError("Invalid type for 'session_id': expected a string.", param=FIELD, code="invalid_type")
    return value


async def list_sessions(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the client's sessions, the most recently used first."""
    asked = asked_of(request.query)
    try:
        page = await stores.sessions.list(request.identity.owner, after=asked.after, limit=asked.limit)
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    data = [_object(session) for session in page.data]
    await exchange.respond(200, [JSON, *common_headers()], listed(data, has_more=page.has_more))


async def get_totals(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with the totals of the client's sessions."""
    totals = await stores.sessions.totals(request.identity.owner)
    body = {
        "object": "session.stats",
        "sessions": totals.sessions,
        "messages": totals.messages,
        "tokens": totals.tokens,
    }
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


async def get_session(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a session and its messages."""
    id, owner = request.params["id"], request.identity.owner
    stats = await stores.sessions.stats(owner, id)
    if stats is None:
        raise _unknown(id)
    session = await stores.sessions.load(owner, id)
    body = {**_object(stats), "messages": list(session.messages)}
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


async def delete_session(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete a session."""
    id = request.params["id"]
    if not await stores.sessions.delete(request.identity.owner, id):
        raise _unknown(id)
    body = {"id": id, "object": "session.deleted", "deleted": True}
    await exchange.respond(200, [JSON, *common_headers()], json.dumps(body).encode())


def _object(stats: SessionStats) -> dict[str, Any]:
    return {
        "id": stats.id,
        "object": "session",
        "created_at": int(stats.created_at),
        "last_used_at": int(stats.used_at),
        "message_count": stats.messages,
        "total_tokens": stats.tokens,
    }


def _unknown(id: str) -> OpenAIError:
    return OpenAIError(f"Session with id '{id}' not found.", status=404)
