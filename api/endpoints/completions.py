"""POST /v1/completions: OpenAI's legacy dialect, on chat turns."""

import logging
import secrets
import time
from contextlib import aclosing
from dataclasses import replace

import msgspec

from api.answer_headers import JSON, headers_of_answer
from api.choices import Choices
from api.failures import as_openai
from api.http.event_stream import EventStream
from api.http.responder import Responder
from api.parts import Turns
from api.request import ApiRequest
from engine import ClaudeError
from engine.aside import aside
from translate import sse
from translate.chat.stream import ChatCompletionStream
from translate.completions import CompletionStream, fold_completion, translate_completion_request
from translate.known_keys import report
from translate.usage import add_usage

log = logging.getLogger(__name__)


async def create_completion(turns: Turns, request: ApiRequest, exchange: Responder) -> None:
    """Answer one request, streaming or not. Raises OpenAIError until the status is spent."""
    translated = await aside(
        request.weight, translate_completion_request, request.json, turns.model_map, turns.default_model
    )
    asked = translated.request
    if translated.ignored:
        log.info("accepted without effect: %s", report(translated.ignored))
    has_usage = bool(asked.stream and asked.stream_options and asked.stream_options.include_usage)
    id, created = f"cmpl-{secrets.token_urlsafe(22)}", int(time.time())
    streams = [
        ChatCompletionStream(
            id=id, created=created, model=asked.model, include_usage=has_usage, index=index, cuts=chat.cuts
        )
        for index, chat in enumerate(translated.chats)
    ]
    who = request.identity
    playing = [replace(chat.turn, timeout_s=who.timeout_s, client=who.client) for chat in translated.chats]
    choices = Choices(turns.engine, playing, streams)
    legacy = CompletionStream(
        id=id,
        created=created,
        model=asked.model,
        echoes=translated.echoes,
        has_usage=has_usage,
    )

    def headers() -> list[tuple[str, str]]:
        return headers_of_answer(
            rehearsal=turns.rehearsal,
            model=next((s.claude_model for s in streams if s.claude_model), playing[0].model),
            processes=choices.processes,
            retries=choices.retries,
            ignored=translated.ignored,
        )

    try:
        async with aclosing(choices.chunks()) as answer:
            if not asked.stream:
                chunks = [chunk async for more in answer for chunk in legacy.feed(more)]
                whole = fold_completion(chunks, add_usage([stream.usage for stream in streams]))
                await exchange.respond(200, [JSON, *headers()], msgspec.json.encode(whole))
                return
            stream = EventStream(exchange, headers, turns.keep_alive_s)
            async with stream.beating():
                async for more in answer:
                    await stream.start()
                    if told := legacy.feed(more):
                        await stream.send([sse.event(one) for one in told])
        await exchange.send_events([sse.DONE])
    except ClaudeError as error:
        failure = as_openai(error, "prompt")
        if not exchange.started:
            raise failure from error
        log.warning("the stream broke off: %s", error.describe())
        await exchange.send_events([sse.EncodedEvent(failure.body())])
    await exchange.finish()
