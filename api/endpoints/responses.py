"""POST /v1/responses: decode, translate, run the turn, translate, store, encode."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import msgspec

from api.answer_headers import JSON, headers_of_answer
from api.choices import MAX_TOGETHER
from api.failures import as_openai
from api.format_check import FORMAT_HEADER, broken_rule
from api.http.event_stream import EventStream
from api.http.responder import Responder
from api.images import Images
from api.mcp import check_allowed, listed
from api.mcp_loop import McpLoop
from api.parts import REASONING_HEADER, Responding
from api.request import ApiRequest
from api.sealing import Sealer
from api.uploaded_files import UploadedFiles, without_bytes
from engine import ClaudeError, Engine, Event, Running
from engine.aside import aside
from storage.base import ConflictError, Item
from storage.database import StoreError
from storage.item_ids import new_response_id, output_ids
from storage.responses import NoConversationError, StoredResponse
from translate import sse
from translate.claude_stream import ClaudeProtocolError
from translate.claude_wire import join_deltas
from translate.errors import OpenAIError
from translate.known_keys import report
from translate.long_work import weight
from translate.obfuscation import padded_event
from translate.responses.fold import body_of, fold
from translate.responses.mcp import ListedTool, McpServer, listed_before
from translate.responses.request import Needed, TranslatedResponse, needed, read_request, translate_response_request
from translate.responses.stream import ResponseStream
from translate.responses.usage import with_usage_of_both
from translate.responses.wire import Response, ResponseEvent
from translate.turn import Turn

log = logging.getLogger(__name__)

type Events = list[ResponseEvent]

OPEN_CALLS = ("function_call", "custom_tool_call", "tool_search_call")
"""The types of items that wait for the app."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A translated request and its future response. ``before`` is the conversation that it continues.

    ``servers`` are the MCP servers that Claude may use. ``new_tools`` are their tools that the response has to list.
    """

    id: str
    owner: str
    created_at: float
    translated: TranslatedResponse
    turn: Turn
    stream: ResponseStream
    before: tuple[Item, ...]
    servers: tuple[McpServer, ...] = ()
    new_tools: Mapping[str, Sequence[ListedTool]] = field(default_factory=dict)
    images: Images = field(default_factory=Images)
    rehearsal: bool = False

    def engine(self, engine: Engine) -> Engine:
        """Return the engine for the turn. It calls the MCP servers if there are any."""
        if not self.servers:
            return engine
        most = self.translated.request.max_tool_calls
        return McpLoop(engine, self.servers, self.translated.mcp_calls, self.new_tools, self.images, most=most)

    def headers(self, running: Running | None = None, *, process: str = "") -> list[tuple[str, str]]:
        """Return the response's headers. ``running`` is the turn, None if it does not run yet."""
        return headers_of_answer(
            rehearsal=self.rehearsal,
            model=self.stream.claude_model or self.translated.turn.model,
            processes=[running.process if running is not None else process],
            retries=running.retries if running is not None else 0,
            ignored=(*self.translated.ignored, *(running.ignored if running is not None else ())),
        )

    def to_keep(self, body: bytes, *, status: str, output: tuple[Item, ...] = ()) -> StoredResponse:
        """Return the response in its stored form."""
        asked = self.translated.request
        return StoredResponse(
            id=self.id,
            owner=self.owner,
            created_at=self.created_at,
            body=body,
            asked=self.translated.items,
            output=output,
            before=self.before,
            previous_id=asked.previous_response_id,
            conversation_id=asked.conversation_id,
            status=status,
        )

    def padded(self, events: Events) -> Events:
        """Return events as they are sent: with padding, unless the app does not want it."""
        options = self.translated.request.stream_options
        if options is not None and options.include_obfuscation is False:
            return events
        return [padded_event(event) for event in events]

    def output(self) -> tuple[Item, ...]:
        """Return the output items in their stored form."""
        return tuple(msgspec.to_builtins(self.stream.stored))


async def create_response(responding: Responding, request: ApiRequest, exchange: Responder) -> None:
    """Answer one request, streaming or not. Raises OpenAIError if it fails before the status is sent."""
    prepared = await prepare(responding, request)
    asked, stream = prepared.translated.request, prepared.stream
    try:
        async with prepared.engine(responding.turns.engine).run(prepared.turn) as running:

            def headers() -> list[tuple[str, str]]:
                return prepared.headers(running)

            async with aclosing(events_of(running, stream)) as answer:
                if asked.stream:
                    await send_stream(answer, responding, prepared, exchange, headers)
                    return
                response = fold([event async for more in answer for event in more])
        prepared, response, follows = await as_asked_in_words(responding, prepared, response)
        response = await keep(responding, prepared, response)
        more_headers = [] if follows else [FORMAT_HEADER]
        await exchange.respond(200, [JSON, *headers(), *more_headers], msgspec.json.encode(body_of(response)))
    except ClaudeError as error:
        raise as_openai(error, "input") from error


async def follows_format(prepared: Prepared, response: Response) -> bool:
    """Whether a response follows the format that was asked for in words, if any was. Log it if not."""
    schema = prepared.translated.asked_in_words
    if schema is None or response.status != "completed":
        return True
    items = msgspec.to_builtins(response.output)
    # A response that calls the app's tools or was refused is not the answer yet, or none.
    if any(item["type"] in OPEN_CALLS for item in items):
        return True
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    if any(part["type"] == "refusal" for part in parts):
        return True
    rule = await broken_rule(schema, "".join(part["text"] for part in parts))
    if rule is not None:
        log.warning("the answer does not follow text.format, which Claude was asked for in words: %s", rule)
    return rule is None


async def as_asked_in_words(
    responding: Responding, prepared: Prepared, response: Response
) -> tuple[Prepared, Response, bool]:
    """Return a response that follows the format that was asked for in words. If it does not, it is asked for once more.

    The last value says whether it follows the format. The usage is that of both tries. If the second try fails, the
    first one stays. A response whose MCP servers were called, or that an agent gave, is not asked for again, because
    calls have effects.
    """
    if await follows_format(prepared, response):
        return prepared, response, True
    if prepared.servers or responding.turns.agent is not None:
        return prepared, response, False
    stream = stream_for(prepared.translated, responding.sealer, prepared.id, prepared.created_at)
    again = replace(prepared, stream=stream)
    try:
        playing = again.engine(responding.turns.engine).run(again.turn)
        async with playing as running, aclosing(events_of(running, stream)) as answer:
            second = fold([event async for more in answer for event in more])
    except (ClaudeError, OpenAIError) as error:
        log.warning("it could not be asked for again: %s", error)
        return prepared, response, False
    return again, with_usage_of_both(response, second), await follows_format(again, second)


async def prepare(responding: Responding, request: ApiRequest, *, generate: bool = True) -> Prepared:
    """Decode and translate a request. If ``generate`` is false, its turn will not run. Raises OpenAIError."""
    turns, owner = responding.turns, request.identity.owner
    uploaded = UploadedFiles(turns.stores, owner)
    fields = await uploaded.in_input(request.json)
    size = weight(fields)
    read = await aside(size, read_request, fields)
    wanted = await aside(size, needed, read)
    before = await items_before(responding, wanted, owner)
    check_allowed(wanted.servers, responding.mcp_servers)
    stored = await turns.stores.responses.items(wanted.item_ids, owner) if turns.stores is not None else {}
    stored = dict(zip(stored, await uploaded.in_items(tuple(stored.values()), "input"), strict=True))
    # Without a turn, the tools of MCP servers are not needed.
    tools, new_tools = await listed(
        wanted.servers if generate else (), {**listed_before(before or ()), **wanted.listed}
    )
    translated = await aside(
        size + weight(before or ()),
        translate_response_request,
        read,
        turns.model_map,
        turns.default_model,
        show_reasoning=turns.shows_reasoning(request.header(REASONING_HEADER)),
        web_search=turns.searches_web,
        generate=generate,
        previous=None if before is None else await uploaded.in_items(before, "input"),
        stored=stored,
        mcp_tools=tools,
        open_reasoning=responding.sealer.open_reasoning,
    )
    translated = replace(translated, items=without_bytes(translated.items))
    asked = translated.request
    if not translated.model_known:
        log.warning("no pattern fits model %r: %s answers", asked.model, translated.turn.model)
    if translated.ignored:
        log.info("accepted without effect: %s", report(translated.ignored))
    turn = await turns.ready(translated.turn, request.identity, asked.input, "input")
    id, created_at = new_response_id(), time.time()
    stream = stream_for(translated, responding.sealer, id, created_at)
    return Prepared(
        id,
        owner,
        created_at,
        translated,
        turn,
        stream,
        before or (),
        wanted.servers,
        new_tools,
        turns.images,
        turns.rehearsal,
    )


def stream_for(translated: TranslatedResponse, sealer: Sealer, id: str, created_at: float) -> ResponseStream:
    """Return a stream that turns Claude's events into those of a response."""
    return ResponseStream(
        translated.options,
        id=id,
        created_at=int(created_at),
        new_id=output_ids(id),
        now=lambda: int(time.time()),
        seal=sealer.seal,
    )


async def events_of(running: Running, stream: ResponseStream) -> AsyncGenerator[Events]:
    """Yield the response events for Claude's events, one Claude event at a time, or several if they are waiting.

    Raises ClaudeError if the turn fails, or if its events end before the response is complete.
    """
    come: list[Event] = []
    ready: Events = []

    def take() -> Events:
        for event in join_deltas(come):
            ready.extend(stream.feed(event))
        come.clear()
        taken = ready[:]
        ready.clear()
        return taken

    try:
        async for event in running:
            come.append(event)
            # A slow client gets fewer, larger pieces. A client that keeps up gets each piece at once.
            if not (running.backlog and len(come) < MAX_TOGETHER) and (told := take()):
                yield told
        if told := take():
            yield told
        stream.feed_eof()
    except (ClaudeError, ClaudeProtocolError) as error:
        if told := take():
            yield told
        if isinstance(error, ClaudeError):
            raise
        raise ClaudeError("stream_error", detail=str(error)) from error


async def send_stream(
    answer: AsyncIterator[Events],
    responding: Responding,
    prepared: Prepared,
    exchange: Responder,
    headers: Callable[[], list[tuple[str, str]]],
) -> None:
    """Send events as they arrive. Raise a failure if the status is not sent yet; otherwise send it as an event.

    The last event is sent after the response is stored, so that the client can continue from the response at once.
    """
    stream = prepared.stream
    out = EventStream(exchange, headers, responding.turns.keep_alive_s)
    try:
        async with out.beating():
            async for events in answer:
                await out.start()
                if stream.complete:
                    whole = fold(events)
                    await follows_format(prepared, whole)
                    response = await keep(responding, prepared, whole)
                    events[-1] = msgspec.structs.replace(events[-1], response=response)
                await out.send([sse.event(event) for event in prepared.padded(events)])
    except ClaudeError as error:
        if not exchange.started:
            raise
        log.warning("the stream broke off: %s", error.describe())
        failed = stream.failed(as_openai(error, "input"))
        await exchange.send_events([sse.event(event) for event in failed])
    await exchange.finish()


async def items_before(responding: Responding, wanted: Needed, owner: str) -> tuple[Item, ...] | None:
    """Return the conversation that a request continues; () if there is none, None if it is not found.

    Raises OpenAIError.
    """
    if wanted.previous_response_id is None and wanted.conversation_id is None:
        return ()
    if responding.recent is not None and wanted.previous_response_id is not None:
        found = responding.recent.conversation(wanted.previous_response_id)
        if found is not None:
            return found
    if responding.turns.stores is None:
        return None
    if wanted.previous_response_id is not None:
        return await responding.turns.stores.responses.conversation_items(wanted.previous_response_id, owner)
    return await responding.turns.stores.conversations.items(str(wanted.conversation_id), owner)


async def keep(responding: Responding, prepared: Prepared, response: Response) -> Response:
    """Store a complete response if the request asks for it. Return the response.

    If it cannot be stored, its ``store`` field is false.
    """
    asked, output, stores = prepared.translated.request, prepared.output(), responding.turns.stores
    if responding.recent is not None:
        responding.recent.add(prepared.id, (*prepared.before, *prepared.translated.items, *output))
    if stores is None or (asked.store is False and asked.conversation_id is None):
        return response
    try:
        if asked.store is False:
            items = (*prepared.translated.items, *output)
            await stores.conversations.enter(str(asked.conversation_id), prepared.owner, items)
        else:
            body = msgspec.json.encode(body_of(response))
            await stores.responses.put(prepared.to_keep(body, status=response.status, output=output))
    except (StoreError, ConflictError, NoConversationError, ValueError) as error:
        log.warning("the response %s could not be kept: %s", prepared.id, error)
        return msgspec.structs.replace(response, store=False)
    return response
