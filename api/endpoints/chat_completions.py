"""POST /v1/chat/completions: decode, translate, run the turn, translate, encode."""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from api.answer_headers import JSON, headers_of_answer
from api.choices import Choices
from api.endpoints.sessions import in_session
from api.failures import as_openai
from api.http.event_stream import EventStream
from api.http.responder import Responder
from api.parts import REASONING_HEADER, Turns
from api.request import ApiRequest
from api.uploaded_files import UploadedFiles
from engine import ClaudeError
from storage.base import ConflictError
from storage.chat_completions import StoredChat
from storage.database import StoreError
from storage.stores import Stores
from translate import sse
from translate.chat.answer import chat_streams
from translate.chat.completion import fold
from translate.chat.request import Translated, translate_request
from translate.chat.wire import ChatCompletion, ChatCompletionChunk, StreamOptions
from translate.errors import OpenAIError
from translate.known_keys import report
from translate.obfuscation import padded_chunk
from translate.usage import add_usage

type Keep = Callable[[ChatCompletion], Awaitable[None]]
"""Stores a completion before the end of the response is sent."""

type Encode = Callable[[ChatCompletionChunk], sse.EncodedEvent]

log = logging.getLogger(__name__)


async def create_chat_completion(turns: Turns, request: ApiRequest, exchange: Responder) -> None:
    """Answer one chat completion request, streaming or not. Raises OpenAIError before the status is sent."""
    async with in_session(turns.stores, request) as session:
        await _create(turns, session.request, exchange, session.keep if session.stores is not None else None)


async def _create(turns: Turns, request: ApiRequest, exchange: Responder, remember: Keep | None) -> None:
    show_reasoning = turns.shows_reasoning(request.header(REASONING_HEADER))
    fields = await UploadedFiles(turns.stores, request.identity.owner).in_messages(request.json)
    translated = translate_request(
        fields,
        turns.model_map,
        turns.default_model,
        show_reasoning=show_reasoning,
        web_search=turns.searches_web,
    )
    asked = translated.request
    if not translated.model_known:
        log.warning("no pattern fits model %r: %s answers", asked.model, translated.turn.model)
    if translated.ignored:
        log.info("accepted without effect: %s", report(translated.ignored))
    turn = await turns.ready(translated.turn, request.identity, asked.messages, "messages")
    streams = chat_streams(
        translated,
        id=f"chatcmpl-{secrets.token_urlsafe(22)}",
        created=int(time.time()),
        version=turns.version,
        show_reasoning=show_reasoning,
    )
    choices = Choices(turns.engine, turn, streams)
    keepers = [keep for keep in (remember, keeper_of(turns.stores, request, translated)) if keep is not None]

    def headers() -> list[tuple[str, str]]:
        return headers_of_answer(
            rehearsal=turns.rehearsal,
            model=next((s.claude_model for s in streams if s.claude_model), translated.turn.model),
            processes=choices.processes,
            retries=choices.retries,
            ignored=translated.ignored,
        )

    async def finished(chunks: list[ChatCompletionChunk]) -> None:
        completion = fold(chunks, usage=add_usage([stream.usage for stream in streams]))
        for keep in keepers:
            await keep(completion)

    try:
        async with aclosing(choices.chunks()) as answer:
            if asked.stream:
                encode = encoder(asked.stream_options)
                await send_stream(answer, exchange, headers, turns.keep_alive_s, encode, finished if keepers else None)
            else:
                chunks = [chunk async for more in answer for chunk in more]
                if keepers:
                    await finished(chunks)
                await exchange.respond(200, [JSON, *headers()], msgspec.json.encode(fold(chunks)))
    except ClaudeError as error:
        raise as_openai(error) from error


def keeper_of(stores: Stores | None, request: ApiRequest, translated: Translated) -> Keep | None:
    """Return a function that stores the completion. Return None without ``store: true`` or without stores."""
    asked = translated.request
    if not asked.store or stores is None:
        return None
    owner = request.identity.owner
    messages = request.json.get("messages") or []

    async def keep(completion: ChatCompletion) -> None:
        chat = StoredChat(
            id=completion.id,
            owner=owner,
            created_at=time.time(),
            model=asked.model,
            body=msgspec.json.encode(completion),
            messages=tuple(messages),
            metadata=dict(asked.metadata or {}),
        )
        try:
            await stores.chats.put(chat)
        except (StoreError, ConflictError, ValueError) as error:
            log.warning("the completion %s could not be kept: %s", completion.id, error)

    return keep


def encoder(options: StreamOptions | None) -> Encode:
    """Return the function that encodes chunks: with padding, unless the app does not want it."""
    if options is not None and options.include_obfuscation is False:
        return sse.event
    return lambda chunk: sse.event(padded_chunk(chunk))


async def send_stream(
    answer: AsyncIterator[list[ChatCompletionChunk]],
    exchange: Responder,
    headers: Callable[[], list[tuple[str, str]]],
    keep_alive_s: float,
    encode: Encode,
    finished: Callable[[list[ChatCompletionChunk]], Awaitable[None]] | None = None,
) -> None:
    """Send chunks as they arrive, then ``[DONE]``.

    A failure is raised if the status is not sent yet. The status is sent when Claude's answer begins, or with a
    keep-alive comment.
    After that, a failure is sent as an event. ``finished`` is called with all chunks before ``[DONE]`` is sent.
    """
    sent: list[ChatCompletionChunk] = []
    stream = EventStream(exchange, headers, keep_alive_s)
    try:
        async with stream.beating():
            async for chunks in answer:
                await stream.start()
                if chunks:
                    await stream.send([encode(chunk) for chunk in chunks])
                if finished is not None:
                    sent += chunks
            if finished is not None:
                await finished(sent)
        await exchange.send_events([sse.DONE])
    except ClaudeError as error:
        if not exchange.started:
            raise
        log.warning("the stream broke off: %s", error.describe())
        failure = as_openai(error)
        await exchange.send_events([sse.EncodedEvent(failure.body())])
    except OpenAIError as error:
        if not exchange.started:
            raise
        log.warning("a streamed answer could not be kept: %s", error)
        await exchange.send_events([sse.EncodedEvent(error.body())])
    await exchange.finish()
