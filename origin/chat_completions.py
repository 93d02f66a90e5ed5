"""POST /v1/chat/completions: decode, translate, run the turn, translate, encode."""

import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

import msgspec

from engine import ClaudeError
from origin.access import KEY_HEADER
from origin.app import CLIENT_HEADER, JSON, Service, refuse_own_tools
from origin.choices import Choices
from origin.heartbeat import COMMENT, Heartbeat
from origin.pictures import fit_pictures
from origin.server import Exchange, Request
from origin.told import headers_of_answer
from translate import sse
from translate.answer import chat_streams
from translate.completion import fold
from translate.errors import OpenAIError, openai_error
from translate.openai_wire import ChatCompletionChunk
from translate.request import translate_request

log = logging.getLogger(__name__)

EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")


async def create_chat_completion(service: Service, request: Request, exchange: Exchange) -> None:
    """Answer one chat completion request, streaming or not. Raises OpenAIError until the status is spent."""
    began = time.monotonic()
    wish = request.header("x-understudy-reasoning")
    show_reasoning = wish == "show" if wish else service.show_reasoning
    translated = translate_request(
        request.body, service.model_map, service.default_model, show_reasoning=show_reasoning
    )
    asked = translated.request
    if not translated.model_known:
        log.warning("model %r is in no map: %s answers", asked.model, translated.turn.model)
    if translated.ignored:
        log.info("accepted without effect: %s", ", ".join(translated.ignored))
    refuse_own_tools(service, translated.turn)
    turn = replace(
        await fit_pictures(translated.turn, asked.messages),
        timeout_s=client_timeout_s(request),
        client=client_of(request),
    )
    streams = chat_streams(
        translated,
        id=f"chatcmpl-{secrets.token_urlsafe(22)}",
        created=int(time.time()),
        show_reasoning=show_reasoning,
    )
    choices = Choices(service.engine, turn, streams)

    def headers() -> list[tuple[str, str]]:
        return headers_of_answer(
            service,
            began=began,
            model=next((s.claude_model for s in streams if s.claude_model), translated.turn.model),
            processes=choices.processes,
            retries=choices.retries,
            ignored=translated.ignored,
        )

    try:
        async with aclosing(choices.chunks()) as answer:
            if asked.stream:
                await send_stream(answer, exchange, headers, service.keep_alive_s)
            else:
                chunks = [chunk async for more in answer for chunk in more]
                await exchange.respond(200, [JSON, *headers()], msgspec.json.encode(fold(chunks)))
    except ClaudeError as error:
        raise openai_error(error.kind, retry_after_s=error.retry_after_s) from error


async def send_stream(
    answer: AsyncIterator[list[ChatCompletionChunk]],
    exchange: Exchange,
    headers: Callable[[], list[tuple[str, str]]],
    keep_alive_s: float,
) -> None:
    """Send chunks as they come, then ``[DONE]``.

    Until Claude has begun to answer the status is open, and a failure can still be one: it is raised. After that, or
    after the first sign of life, it is an event.
    """

    async def start() -> None:
        if not exchange.started:
            await exchange.start(200, [EVENT_STREAM, ("cache-control", "no-cache"), *headers()])

    async def beat() -> None:
        await start()
        await exchange.send(COMMENT)

    heart = Heartbeat(keep_alive_s, beat)
    try:
        async with heart.beating():
            async for chunks in answer:
                await start()
                await exchange.send(encode(chunks))
                heart.sent()
        await exchange.send(sse.DONE)
    except ClaudeError as error:
        if not exchange.started:
            raise
        log.warning("the stream broke off: %s (%s)", error.kind, error.detail)
        failure: OpenAIError = openai_error(error.kind, retry_after_s=error.retry_after_s)
        await exchange.send(sse.raw_event(failure.body()))
    await exchange.finish()


def encode(chunks: list[ChatCompletionChunk]) -> bytes:
    """Encode chunks as events."""
    return b"".join([sse.event(chunk) for chunk in chunks])


def client_timeout_s(request: Request) -> float | None:
    """Return how long the client will wait, which OpenAI's SDKs tell in ``x-stainless-timeout`` (seconds), or None."""
    try:
        seconds = float(request.header("x-stainless-timeout") or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def client_of(request: Request) -> str:
    """Return what tells one client from another, for fairness: its address, its key and its name, not to be read."""
    told = [request.header(name) or "" for name in (CLIENT_HEADER, KEY_HEADER, "authorization", "user-agent")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
