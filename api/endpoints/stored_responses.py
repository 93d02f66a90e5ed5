"""The responses that are kept: read, read as a stream, listed by what they were asked with, cancelled, deleted."""

import asyncio
import json
import re
from urllib.parse import parse_qs

from api.answer_headers import JSON, common_headers
from api.endpoints.background import send_events
from api.http.pagination import asked_of, listed, unknown_cursor
from api.http.responder import Responder
from api.parts import KeptResponses
from api.request import ApiRequest
from storage.pagination import UnknownCursorError
from storage.responses import Kept
from storage.stores import Stores, given_up
from translate.errors import OpenAIError

CANCEL_S = 5.0
"""How long a cancellation may take to reach who works on a response."""

SEQUENCE_NUMBER = re.compile(r"-?[0-9]{1,18}")
"""What a database takes."""

ENDED = ("completed", "incomplete", "failed", "cancelled")


async def get_response(kept: KeptResponses, request: ApiRequest, exchange: Responder) -> None:
    """Answer with a response, or with its events from a number on."""
    id, stores = request.params["id"], kept.stores
    query = {name: values[-1] for name, values in parse_qs(request.query).items()}
    found = await stores.responses.get(id, request.identity.owner)
    if found is None:
        raise unknown(id)
    if query.get("stream") != "true":
        if found.background and found.status not in ENDED:
            found = await still_answered(stores, id, request.identity.owner) or found
        await exchange.respond(200, [JSON, *common_headers()], found.body)
        return
    after = query.get("starting_after", "-1")
    if not SEQUENCE_NUMBER.fullmatch(after):
        raise OpenAIError("Invalid 'starting_after': a number is expected.", param="starting_after")
    await send_events(
        *(kept, exchange, id, request.identity.owner, int(after), common_headers()),
        has_padding=query.get("include_obfuscation") != "false",
    )


async def list_input_items(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """List the items that a response was asked with."""
    id, asked = request.params["id"], asked_of(request.query)
    try:
        page = await stores.responses.input_items(
            id, request.identity.owner, after=asked.after, before=asked.before, limit=asked.limit, order=asked.order
        )
    except UnknownCursorError as error:
        raise unknown_cursor(error) from error
    if page is None:
        raise unknown(id)
    await exchange.respond(200, [JSON, *common_headers()], listed(page.data, has_more=page.has_more))


async def delete_response(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Delete a response. One that is still being answered is not answered further."""
    id = request.params["id"]
    if not await stores.responses.delete(id, request.identity.owner):
        raise unknown(id)
    stores.cancel(id)
    body = json.dumps({"id": id, "object": "response", "deleted": True}).encode()
    await exchange.respond(200, [JSON, *common_headers()], body)


async def cancel_response(stores: Stores, request: ApiRequest, exchange: Responder) -> None:
    """Stop a background response and answer with what has become of it. One that has ended stays as it is."""
    id, owner = request.params["id"], request.identity.owner
    goes_on = await stores.background.request_cancel(id, owner)
    if goes_on is None:
        if await stores.responses.get(id, owner) is None:
            raise unknown(id)
        raise OpenAIError("Only responses that were created in the background can be cancelled.")
    if goes_on:
        stores.cancel(id)
    found = await stores.responses.get(id, owner)
    # Another proxy may be working on it, and hears of it a little later.
    with_patience = asyncio.get_running_loop().time() + CANCEL_S
    while found is not None and found.status not in ENDED:
        if asyncio.get_running_loop().time() > with_patience:
            break
        await asyncio.sleep(0.05)
        found = await stores.responses.get(id, owner)
    if found is None:
        raise unknown(id)
    await exchange.respond(200, [JSON, *common_headers()], found.body)


async def still_answered(stores: Stores, id: str, owner: str) -> Kept | None:
    """Return a background response as it is, once it is not left as it was by a proxy that has died."""
    progress = await stores.background.events_after(id, owner, limit=1)
    if progress is not None and progress.abandoned:
        await stores.background.fail_abandoned(given_up)
    return await stores.responses.get(id, owner)


def unknown(id: str) -> OpenAIError:
    """Return what an app is told of a response that is not there, or is another's."""
    return OpenAIError(f"Response with id '{id}' not found.", status=404)
