"""POST /v1/chat/completions: decode, translate, run the turn, translate, encode."""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

from api.answer_headers import JSON, headers_of_answer
from api.choices import Choices
from api.endpoints.sessions import in_session
from api.failures import as_openai
from api.format_check import FORMAT_HEADER, broken_rule
from api.http.event_stream import EventStream
from api.http.responder import Responder
from api.parts import REASONING_HEADER, Turns
from api.request import ApiRequest
from api.uploaded_files import UploadedFiles
from engine import ClaudeError
from engine.aside import aside
from storage.base import ConflictError
from storage.chat_completions import StoredChat
from storage.database import StoreError
from storage.stores import Stores
from translate import sse
from translate.chat.answer import chat_streams
from translate.chat.completion import fold
from translate.chat.request import Translated, translate_request
from translate.chat.stream import ChatCompletionStream
from translate.chat.wire import ChatCompletion, ChatCompletionChunk, StreamOptions
from translate.errors import OpenAIError
from translate.known_keys import report
from translate.long_work import weight
from translate.obfuscation import padded_chunk
from translate.turn import Turn
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
    translated = await aside(
        weight(fields),
        translate_request,
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
    new_streams = partial(
        chat_streams,
        translated,
        id=f"chatcmpl-{secrets.token_urlsafe(22)}",
        created=int(time.time()),
        version=turns.version,
        show_reasoning=show_reasoning,
    )
    streams = new_streams()
    choices = Choices(turns.engine, turn, streams)
    keepers = [keep for keep in (remember, keeper_of(turns.stores, request, translated)) if keep is not None]
    asked_in_words = translated.asked_in_words

    def headers() -> list[tuple[str, str]]:
        return headers_of_answer(
            rehearsal=turns.rehearsal,
            model=next((s.claude_model for s in streams if s.claude_model), translated.turn.model),
            processes=choices.processes,
            retries=choices.retries,
            ignored=(*translated.ignored, *choices.ignored),
        )

    async def finished(chunks: list[ChatCompletionChunk]) -> None:
        completion = fold(chunks, usage=add_usage([stream.usage for stream in streams]))
        if asked_in_words is not None:
            # It has been sent, so nothing else can be done.
            await broken_choices(asked_in_words, completion)
        for keep in keepers:
            await keep(completion)

    try:
        async with aclosing(choices.chunks()) as answer:
            if asked.stream:
                needed = finished if keepers or asked_in_words is not None else None
                encode = encoder(asked.stream_options)
                await send_stream(answer, exchange, headers, turns.keep_alive_s, encode, needed)
                return
            completion = fold([chunk async for more in answer for chunk in more])
        more: list[tuple[str, str]] = []
        if asked_in_words is not None:
            completion, follows = await as_asked_in_words(asked_in_words, completion, turns, turn, new_streams)
            more = [] if follows else [FORMAT_HEADER]
        for keep in keepers:
            await keep(completion)
        await exchange.respond(200, [JSON, *headers(), *more], msgspec.json.encode(completion))
    except ClaudeError as error:
        raise as_openai(error) from error


async def broken_choices(schema: Mapping[str, Any], completion: ChatCompletion) -> list[int]:
    """Return the indexes of the choices that do not follow a format that was asked for in words, and log them."""
    broken = []
    for choice in completion.choices:
        # A choice that was cut, was refused, or calls a tool says so by its finish_reason.
        rule = await broken_rule(schema, choice.message.content or "") if choice.finish_reason == "stop" else None
        if rule is not None:
            log.warning("the answer does not follow response_format, which Claude was asked for in words: %s", rule)
            broken.append(choice.index)
    return broken


async def as_asked_in_words(
    schema: Mapping[str, Any],
    completion: ChatCompletion,
    turns: Turns,
    turn: Turn,
    new_streams: Callable[[], list[ChatCompletionStream]],
) -> tuple[ChatCompletion, bool]:
    """Return a completion whose broken choices were asked for once more, and whether all of it follows the format.

    The usage is that of both tries. If the second try fails, the first one stays. An agent is not asked again, because
    its tools have effects.
    """
    broken = await broken_choices(schema, completion)
    if not broken:
        return completion, True
    if turns.agent is not None:
        return completion, False
    streams = [stream for index, stream in enumerate(new_streams()) if index in broken]
    try:
        async with aclosing(Choices(turns.engine, turn, streams).chunks()) as answer:
            again = fold([chunk async for more in answer for chunk in more])
    except (ClaudeError, OpenAIError) as error:
        log.warning("it could not be asked for again: %s", error)
        return completion, False
    better = {choice.index: choice for choice in again.choices}
    choices = [better.get(choice.index, choice) for choice in completion.choices]
    usage = add_usage([completion.usage, again.usage])
    whole = msgspec.structs.replace(completion, choices=choices, usage=usage)
    return whole, not await broken_choices(schema, again)


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
