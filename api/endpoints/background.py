"""Responses that are created in the background, and streams of their events that clients can resume."""

import asyncio
import contextlib
import json
import logging

import msgspec

from api.answer_headers import JSON
from api.endpoints.responses import Events, Prepared, events_of, follows_format, prepare
from api.failures import as_openai
from api.http.event_stream import EventStream
from api.http.responder import Responder
from api.parts import Background, Charge, KeptResponses
from api.request import ApiRequest
from engine import ClaudeError, Engine
from storage.background import EndedError, Event, Progress
from storage.database import StoreError
from storage.responses import NoConversationError
from storage.stores import Stores, given_up
from translate.errors import OpenAIError
from translate.obfuscation import without_padding
from translate.responses.fold import body_of, fold
from translate.sse import stored_event

log = logging.getLogger(__name__)

POLL_S = 0.05
"""The interval in seconds between checks for new events. Another proxy may write them to the store."""


async def create_in_background(background: Background, request: ApiRequest, exchange: Responder) -> None:
    """Start a background response and return it at once. With ``stream``, send its events. Raises OpenAIError."""
    prepared = await prepare(background.responding, request)
    asked, turns = prepared.translated.request, background.responding.turns
    stores = turns.stores
    if asked.store is False or stores is None:
        raise OpenAIError(
            "A background response must be stored: 'store' cannot be false.", param="background", code="invalid_value"
        )
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stores.spawn(prepared.id, work(background.charge, stores, prepared, begun))
    try:
        await begun
    except NoConversationError as error:
        raise OpenAIError("The conversation is gone.", status=404, param="conversation") from error
    headers = prepared.headers(process="background")
    if asked.stream:
        await send_events(KeptResponses(stores, turns.keep_alive_s), exchange, prepared.id, prepared.owner, -1, headers)
    else:
        await exchange.respond(200, [JSON, *headers], queued(prepared))


def queued(prepared: Prepared) -> bytes:
    """Return the body of a queued response."""
    return msgspec.json.encode(prepared.stream.queued())


async def work(charge: Charge, stores: Stores, prepared: Prepared, begun: asyncio.Future[None]) -> None:
    """Create a response, and store it after every step."""

    async def on(engine: Engine) -> None:
        await stores.background.begin(prepared.to_keep(queued(prepared), status="queued"))
        if begun.cancelled():
            # The client has disconnected before it got the response id, so nobody can retrieve the response.
            stores.cancelled.add(prepared.id)
            await _end_early(stores, prepared)
            return
        begun.set_result(None)
        await _answer(engine, stores, prepared)

    try:
        await charge(on)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.ensure_future(_end_early(stores, prepared)))
        raise
    except EndedError:
        log.info("%s has ended elsewhere", prepared.id)
    except Exception as error:
        if not begun.done():
            begun.set_exception(error)
            return
        log.exception("%s could not be answered", prepared.id)
        await _end_early(stores, prepared)
    finally:
        stores.cancelled.discard(prepared.id)
        if not begun.done():
            begun.cancel()


async def _answer(engine: Engine, stores: Stores, prepared: Prepared) -> None:
    id, stream = prepared.id, prepared.stream
    told: Events = []
    works = False
    try:
        async with prepared.engine(engine).run(prepared.turn) as running:
            async for events in events_of(running, stream):
                # Read the turn to its end. Only then are its output complete and its cost known.
                if stream.complete:
                    told = events
                    continue
                if not works:
                    works = True
                    await stores.background.set_status(id, "in_progress", _as(prepared, "in_progress"))
                if await stores.background.append_events(id, _encoded(prepared, events)):
                    stores.cancel(id)
    except ClaudeError as error:
        log.warning("%s broke off: %s", id, error.describe())
        told = stream.failed(as_openai(error, "input"))
    except OpenAIError as error:
        # The API key's budget is exceeded. This is checked just before the turn runs.
        told = stream.failed(error)
    response = fold(told)
    await follows_format(prepared, response)
    await stores.background.finish(
        id,
        response.status,
        msgspec.json.encode(body_of(response)),
        output=prepared.output(),
        events=_encoded(prepared, told),
    )


async def _end_early(stores: Stores, prepared: Prepared) -> None:
    """End an unfinished response: as cancelled if that was requested, otherwise as failed."""
    with contextlib.suppress(EndedError, StoreError):
        if prepared.id in stores.cancelled:
            await stores.background.finish(prepared.id, "cancelled", _as(prepared, "cancelled"))
        else:
            await stores.background.give_up(prepared.id, given_up)


def _as(prepared: Prepared, status: str) -> bytes:
    return json.dumps({**json.loads(queued(prepared)), "status": status}).encode()


def _encoded(prepared: Prepared, events: Events) -> list[Event]:
    return [(event.sequence_number, msgspec.json.encode(event)) for event in prepared.padded(events)]


async def send_events(
    kept: KeptResponses,
    exchange: Responder,
    id: str,
    owner: str,
    after: int,
    headers: list[tuple[str, str]],
    *,
    has_padding: bool = True,
) -> None:
    """Send the events of a background response that come after sequence number ``after``, up to its end.

    If ``has_padding`` is false, the events are sent without ``obfuscation``.
    """
    stores = kept.stores
    progress = await stores.background.events_after(id, owner, after)
    if progress is None:
        raise OpenAIError("Only responses that were created in the background can be streamed again.", param="stream")
    out = EventStream(exchange, lambda: headers, kept.keep_alive_s)
    await out.start()
    async with out.beating():
        while progress is not None:
            if progress.events:
                sent = [event if has_padding else without_padding(event) for _, event in progress.events]
                await out.send([stored_event(event) for event in sent])
                after = progress.events[-1][0]
            elif progress.ended:
                break
            else:
                await _wait(stores, progress)
            progress = await stores.background.events_after(id, owner, after)
    await exchange.finish()


async def _wait(stores: Stores, progress: Progress) -> None:
    if progress.abandoned:
        await stores.background.fail_abandoned(given_up)
    else:
        await asyncio.sleep(POLL_S)
