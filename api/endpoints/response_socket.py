"""GET /v1/responses as a WebSocket: ``response.create`` in, the events of responses out.

Source: https://platform.openai.com/docs/guides/websocket-mode and ``ResponsesClientEvent``, ``ResponsesServerEvent`` of
OpenAI's OpenAPI document.

Theory of operation
-------------------
Each ``response.create`` is handled like a POST of its fields to ``/v1/responses`` with the handshake's headers. So
keys, budgets, recording, replay and errors work as they do there. The response goes to :class:`Messages`, which sends
the JSON of each event as a message.

Requests with the same ``stream_id``, or without one, are answered one after the other. Requests with different ones are
answered concurrently. A connection holds its last responses in memory, so that requests can continue them even if they
are not stored.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from api.answer_headers import IGNORED_HEADER
from api.endpoints.responses import prepare
from api.failures import unreadable
from api.http.responder import Headers, Responder
from api.http.server import Exchange, Request
from api.http.websocket import GOING_AWAY, WebSocket, is_upgrade
from api.parts import Responding
from api.recent import Recent
from api.request import ApiRequest
from engine.observers import FLOW_HEADER, Observers, SocketMessage
from engine.progress import REQUEST_ID
from storage.database import StoreError
from translate import sse
from translate.errors import OpenAIError, openai_error
from translate.request_body import decode_json

log = logging.getLogger(__name__)

PATH = "/v1/responses"

MAX_LANES = 32
"""How many requests of a connection are answered concurrently."""
MAX_WAITING = 32
"""How many more requests may wait in each lane."""

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")

OF_THE_CONNECTION = ("connection", "upgrade", "content-length", FLOW_HEADER)

UNDERSTOOD = "Only 'response.create' is understood."


@dataclass(frozen=True, slots=True)
class Sockets:
    """The objects and limits that WebSockets need.

    ``handle`` answers a request as if it had been posted. It gets the responses that the connection has in memory.
    """

    handle: Callable[[Request, Responder, Recent], Awaitable[None]]
    responding: Responding
    observers: Observers
    max_message_bytes: int


async def connect(sockets: Sockets, request: ApiRequest, exchange: Responder) -> None:
    """Open the WebSocket and answer until it closes. Raises OpenAIError if the request is not a WebSocket handshake."""
    if not is_upgrade(request.http):
        raise OpenAIError(f"Not allowed to GET on {PATH} (allowed: POST)", status=405, code="method_not_allowed")
    if not isinstance(exchange, Exchange):
        raise OpenAIError("There are no WebSockets here.", status=426, code="upgrade_required")
    socket = WebSocket.accept(request.http, exchange, max_bytes=sockets.max_message_bytes)
    lanes = Lanes(sockets, request, socket)
    exchange.when_ending(lanes.end)
    try:
        async for message in socket.messages():
            await lanes.take(message)
        await lanes.finish()
        await socket.close(GOING_AWAY if lanes.ending else 1000)
    finally:
        await lanes.aclose()
    exchange.ended = True


@dataclass(slots=True)
class Lane:
    """Requests that are answered one after the other."""

    waiting: deque[tuple[int, dict[str, Any], int]] = field(default_factory=deque)
    """The number, the fields and the size of each waiting request."""
    task: asyncio.Task[None] | None = None
    begun: bool = False
    """Whether the task has begun. Until then, the first request is in ``waiting`` although nothing blocks it."""


class Lanes:
    """The lanes of one WebSocket."""

    def __init__(self, sockets: Sockets, handshake: ApiRequest, socket: WebSocket) -> None:
        self._sockets = sockets
        self._recent = Recent()
        self._identity = handshake.identity
        self._socket = socket
        self._flow = handshake.header(FLOW_HEADER)
        self._headers = tuple(
            (name, value)
            for name, value in handshake.http.headers
            if name not in OF_THE_CONNECTION and not name.startswith("sec-websocket-")
        )
        self._lanes: dict[str | None, Lane] = {}
        self._count = 0
        self._waiting_size = 0
        self.ending = False

    async def take(self, message: str) -> None:
        """Queue a message to be answered, or send an error."""
        stream_id: str | None = None
        number, self._count = self._count, self._count + 1
        try:
            fields = _decoded(message)
            stream_id = _stream_id(fields)
            if self.ending:
                raise openai_error("draining")
            lane = self._lane(stream_id, len(message))
            lane.waiting.append((number, fields, len(message)))
            self._waiting_size += len(message)
        except OpenAIError as error:
            await self._messages(stream_id, number).respond(error.status, [], error.body())
            return
        if lane.task is None:
            # Do not use create_task: mitmproxy's loop starts tasks at once, and lane.task must be set before it ends.
            work: Coroutine[Any, Any, None] = self._answer_all(stream_id, lane)
            lane.task = asyncio.Task(work, loop=asyncio.get_running_loop(), name="answer over a WebSocket")

    async def send(self, message: SocketMessage, text: str) -> None:
        """Send a message, and report it to the observers."""
        if self._socket.is_open:
            # No other message can come in between: this one is written before the first wait.
            self._sockets.observers.say(self._flow, message)
        await self._socket.send(text)

    def _messages(self, stream_id: str | None, number: int) -> "Messages":
        return Messages(self._socket, stream_id, number, self.send)

    def end(self) -> None:
        """Accept no more requests. The WebSocket closes when the current ones are answered."""
        self.ending = True
        self._socket.end()

    async def finish(self) -> None:
        """Wait for the current requests if the server is shutting down. Do not wait if the peer has disconnected."""
        while self.ending and (tasks := [lane.task for lane in self._lanes.values() if lane.task is not None]):
            await asyncio.wait(tasks)

    async def aclose(self) -> None:
        """Cancel all requests, and wait for their tasks to end."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for lane in self._lanes.values():
            lane.waiting.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _lane(self, stream_id: str | None, size: int) -> Lane:
        lane = self._lanes.get(stream_id)
        if lane is None:
            if len(self._lanes) >= MAX_LANES:
                raise _too_many("This WebSocket connection has reached its stream limit.")
            lane = self._lanes[stream_id] = Lane()
        if len(lane.waiting) >= MAX_WAITING + (not lane.begun):
            raise _too_many("Too many requests of this stream are waiting.")
        if self._waiting_size and self._waiting_size + size > self._sockets.max_message_bytes:
            raise _too_many("The requests that wait on this connection are too large together.")
        return lane

    async def _answer_all(self, stream_id: str | None, lane: Lane) -> None:
        lane.begun = True
        try:
            while lane.waiting:
                number, fields, size = lane.waiting.popleft()
                self._waiting_size -= size
                await self._answer(stream_id, number, fields)
        finally:
            del self._lanes[stream_id]

    async def _answer(self, stream_id: str | None, number: int, fields: dict[str, Any]) -> None:
        generate = fields.pop("generate", None)
        body = msgspec.json.encode({**fields, "stream": True})
        flow = [(FLOW_HEADER, f"{self._flow}/{number}")] if self._flow else []
        request = Request("POST", PATH, "", (*self._headers, *flow), body)
        answer = self._messages(stream_id, number)
        began = time.monotonic()
        try:
            if generate is False:
                await self._warm(ApiRequest(request, self._identity), answer)
            else:
                await self._sockets.handle(request, answer, self._recent)
        except ConnectionError:
            log.info("a WebSocket was closed while it was answered on")
        except OpenAIError as error:
            await answer.respond(error.status, [], error.body())
        except StoreError as failure:
            told = unreadable(failure)
            await answer.respond(told.status, [], told.body())
        except Exception:
            log.exception("a request on a WebSocket failed")
            await answer.respond(500, [], openai_error("api_error").body())
        after_s = time.monotonic() - began
        log.info("%s over a WebSocket %s, %.2f s, request %s", PATH, answer.told, after_s, REQUEST_ID.get())

    async def _warm(self, request: ApiRequest, answer: "Messages") -> None:
        """Hold the input of a request in memory, without generating output."""
        responding = replace(self._sockets.responding, recent=self._recent)
        prepared = await prepare(responding, request, generate=False)
        await answer.start(200, prepared.headers())
        self._recent.add(prepared.id, (*prepared.before, *prepared.translated.items))
        await answer.send_events([sse.event(event) for event in prepared.stream.warmed()])


class Messages(Responder):
    """The response to one request. Each event is sent as a message, and an error as an ``error`` event.

    A message has no headers. So the first one has the header ``x-understudy-ignored`` in its field ``headers``, if the
    response has that header.
    """

    __slots__ = ("_first", "_number", "_reader", "_send", "_socket", "_suffix", "told")

    def __init__(
        self,
        socket: WebSocket,
        stream_id: str | None,
        number: int,
        send: Callable[[SocketMessage, str], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._number = number
        self._send = send
        self._suffix = b"" if stream_id is None else b',"stream_id":"' + stream_id.encode("ascii") + b'"'
        self._first = b""
        self._reader = sse.Reader()
        self.told = "200"
        """The status, for the log."""
        self.headers: list[tuple[str, str]] = []
        self.started = self.ended = False

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an error. A request for a stream has no other response without a stream."""
        self.started = self.ended = True
        self.told = str(status)
        error = {"type": "error", "status": status, "error": msgspec.json.decode(body).get("error")}
        await self.send_events([sse.EncodedEvent(msgspec.json.encode(error), "error")])

    async def start(self, status: int, headers: Headers) -> None:
        """Send nothing, since a response begins with its first event."""
        self.started = True
        if found := {name: value for name, value in headers if name == IGNORED_HEADER}:
            self._first = b',"headers":' + msgspec.json.encode(found)

    async def send_events(self, events: Sequence[sse.EncodedEvent]) -> None:
        """Send the JSON of each event as a separate message."""
        for event in events:
            more, self._first = self._first + self._suffix, b""
            text = (event.data[:-1] + more + b"}").decode("utf-8")
            await self._send(SocketMessage(self._number, event.type, more), text)

    async def send_keep_alive(self) -> None:
        """Send a ping."""
        await self._socket.ping()

    async def send(self, data: bytes) -> None:
        """Send a recorded chunk: bytes of an event stream, which may be cut anywhere."""
        for event in self._reader.feed(data):
            if not event.data:
                await self.send_keep_alive()
            elif event.data.endswith(b"}"):
                await self.send_events([event])

    async def finish(self) -> None:
        """Mark the response as complete."""
        self.ended = True

    def abort(self) -> None:
        """Cut the connection."""
        self.ended = True
        self._socket.abort()


def _decoded(message: str) -> dict[str, Any]:
    try:
        fields: Any = decode_json(message.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise OpenAIError(f"We could not parse the JSON of your message. {UNDERSTOOD}") from None
    if not isinstance(fields, dict):
        raise OpenAIError(f"A message must be a JSON object. {UNDERSTOOD}", code="invalid_type")
    kind = fields.pop("type", None)
    if kind != "response.create":
        raise OpenAIError(f"Invalid value: {kind!r}. {UNDERSTOOD}", param="type", code="invalid_value")
    if fields.get("background"):
        message = "Unsupported value: 'background' is not supported over a WebSocket."
        raise OpenAIError(message, param="background", code="unsupported_value")
    return fields


def _stream_id(fields: dict[str, Any]) -> str | None:
    stream_id = fields.pop("stream_id", None)
    if stream_id is None:
        return None
    if not isinstance(stream_id, str) or not STREAM_ID.fullmatch(stream_id):
        message = f"Invalid 'stream_id': expected a string that matches '^{STREAM_ID.pattern}$'."
        raise OpenAIError(message, param="stream_id", code="invalid_value")
    return stream_id


def _too_many(message: str) -> OpenAIError:
    return OpenAIError(message, param="stream_id", code="websocket_stream_limit_reached")
