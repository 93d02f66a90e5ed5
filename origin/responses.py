"""POST /v1/responses, and the responses that are remembered."""

import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from engine import ClaudeError, Running
from origin.access import bearer
from origin.app import JSON, Service, common_headers, refuse_own_tools
from origin.chat_completions import EVENT_STREAM, client_of, client_timeout_s
from origin.choices import MAX_TOGETHER
from origin.heartbeat import COMMENT, Heartbeat
from origin.pictures import fit_pictures
from origin.remembered import Item, Remembered
from origin.server import Exchange, Request
from origin.told import headers_of_answer
from translate.errors import OpenAIError, openai_error
from translate.responses import sse
from translate.responses.fold import fold
from translate.responses.request import TranslatedResponse, needed, translate_response_request
from translate.responses.stream import ResponseStream
from translate.responses.wire import ResponseEvent
from translate.stream import ClaudeProtocolError

log = logging.getLogger(__name__)

type Events = list[ResponseEvent]

PREFIX = "/v1/responses/"


async def create_response(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer one request, streaming or not. Raises OpenAIError until the status is spent."""
    began = time.monotonic()
    wish = request.header("x-understudy-reasoning")
    translated = translate_response_request(
        request.body,
        service.model_map,
        service.default_model,
        show_reasoning=wish == "show" if wish else service.show_reasoning,
        previous=previous_items(service, request),
        open_reasoning=service.sealer.open_reasoning,
    )
    asked = translated.request
    if not translated.model_known:
        log.warning("model %r is in no map: %s answers", asked.model, translated.turn.model)
    if translated.ignored:
        log.info("accepted without effect: %s", ", ".join(translated.ignored))
    refuse_own_tools(service, translated.turn)
    turn = replace(
        await fit_pictures(translated.turn, ()), timeout_s=client_timeout_s(request), client=client_of(request)
    )
    id = f"resp_{secrets.token_hex(24)}"
    stream = ResponseStream(
        id=id,
        created_at=int(time.time()),
        echo=translated.echo,
        new_id=lambda prefix: f"{prefix}_{secrets.token_hex(24)}",
        now=lambda: int(time.time()),
        seal=service.sealer.seal,
        show_summary=translated.show_summary,
        show_encrypted=translated.show_encrypted,
        unfence=translated.unfence,
    )
    try:
        async with service.engine.run(turn) as running:

            def headers() -> list[tuple[str, str]]:
                return headers_of_answer(
                    service,
                    began=began,
                    model=translated.turn.model,
                    processes=[running.process],
                    retries=running.retries,
                    ignored=translated.ignored,
                )

            async with aclosing(events_of(running, stream)) as answer:
                if asked.stream:
                    events = await send_stream(answer, stream, exchange, headers, service.keep_alive_s)
                else:
                    events = [event async for more in answer for event in more]
                    await exchange.respond(200, [JSON, *headers()], msgspec.json.encode(fold(events)))
    except ClaudeError as error:
        raise openai_error(error.kind, retry_after_s=error.retry_after_s) from error
    if asked.store is not False and stream.complete:
        remember(service, request, id, translated, stream, events)


async def events_of(running: Running, stream: ResponseStream) -> AsyncGenerator[Events]:
    """Yield the events that Claude's give: each one's at once, or together what has come already.

    Raises ClaudeError when the turn fails, or when its events end before the answer does.
    """
    ready: Events = []
    try:
        async for event in running:
            ready += stream.feed(event)
            if ready and not (running.backlog and len(ready) < MAX_TOGETHER):
                yield ready
                ready = []
        stream.feed_eof()
    except (ClaudeError, ClaudeProtocolError) as error:
        if ready:
            yield ready
        if isinstance(error, ClaudeError):
            raise
        raise ClaudeError("stream_error", detail=str(error)) from error
    if ready:
        yield ready


async def send_stream(
    answer: AsyncIterator[Events],
    stream: ResponseStream,
    exchange: Exchange,
    headers: Callable[[], list[tuple[str, str]]],
    keep_alive_s: float,
) -> Events:
    """Send events as they come and return them all. A failure is raised while the status is open, then it is told."""

    async def start() -> None:
        if not exchange.started:
            await exchange.start(200, [EVENT_STREAM, ("cache-control", "no-cache"), *headers()])

    async def beat() -> None:
        await start()
        await exchange.send(COMMENT)

    sent: Events = []
    heart = Heartbeat(keep_alive_s, beat)
    try:
        async with heart.beating():
            async for events in answer:
                await start()
                await exchange.send(b"".join(map(sse.event, events)))
                heart.sent()
                sent += events
    except ClaudeError as error:
        if not exchange.started:
            raise
        log.warning("the stream broke off: %s (%s)", error.kind, error.detail)
        failed = stream.failed(openai_error(error.kind, retry_after_s=error.retry_after_s))
        await exchange.send(b"".join(map(sse.event, failed)))
    await exchange.finish()
    return sent


def previous_items(service: Service, request: Request) -> tuple[Item, ...] | None:
    """Return the conversation that a request goes on with; () for none. Raises OpenAIError for one not known."""
    wanted = needed(request.body)
    if wanted.previous_response_id is None:
        return None if wanted.conversation_id else ()
    found = service.memory.find(wanted.previous_response_id, owner_of(request))
    if found is None:
        raise OpenAIError(
            f"Previous response with id '{wanted.previous_response_id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    return found.conversation


def remember(
    service: Service,
    request: Request,
    id: str,
    translated: TranslatedResponse,
    stream: ResponseStream,
    events: Events,
) -> None:
    """Keep what the next request may refer to."""
    output: list[Item] = msgspec.json.decode(msgspec.json.encode(stream.stored))
    body = msgspec.json.encode(fold(events))
    before = previous_items(service, request) or ()
    conversation = (*before, *translated.items, *output)
    size = len(body) + len(msgspec.json.encode(conversation))
    service.memory.keep(id, Remembered(owner_of(request), body, translated.items, conversation, size))


async def get_response(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer with a response that is remembered, or with the items that it was asked with."""
    id, _, rest = request.path.removeprefix(PREFIX).rstrip("/").partition("/")
    found = service.memory.find(id, owner_of(request))
    if found is None or rest not in ("", "input_items"):
        raise _unknown(id)
    body = found.body
    if rest:
        data: list[Any] = [{"id": f"item_{id[5:]}_{n}", **item} for n, item in reversed(list(enumerate(found.asked)))]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        listed = {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False}
        body = json.dumps(listed).encode()
    await exchange.respond(200, [JSON, *common_headers()], body)


async def delete_response(service: Service, request: Request, exchange: Exchange) -> None:
    """Forget a response."""
    id = request.path.removeprefix(PREFIX).rstrip("/")
    if not service.memory.forget(id, owner_of(request)):
        raise _unknown(id)
    body = json.dumps({"id": id, "object": "response", "deleted": True}).encode()
    await exchange.respond(200, [JSON, *common_headers()], body)


def owner_of(request: Request) -> str:
    """Return whose responses a request may refer to: those that were asked for with the same key."""
    return client_of(replace(request, headers=(("authorization", bearer(request)),)))


def _unknown(id: str) -> OpenAIError:
    return OpenAIError(f"Response with id '{id}' not found.", status=404)
