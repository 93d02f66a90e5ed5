"""An HTTP/1.1 server on loopback: h11 parses and formats the messages, asyncio does the I/O.

Theory of operation
-------------------
Each connection is an asyncio Protocol. It feeds received bytes into an `h11.Connection` and reads events from it. When
a request is complete, including its body, the connection starts a task for the handler. So a handler never waits for
the request. The handler sends its response through `Exchange`. Each call gives events to h11 and writes the resulting
bytes at once, as one write. It waits only while the transport's buffer is above its high-water mark.

Reading continues while a handler runs, because a client cancels a request by closing the connection. At EOF or reset
the handler's task is cancelled in the same turn of the event loop. A client that shuts down its sending side early
therefore counts as disconnected. Bytes of a pipelined request wait in h11's buffer. Above `MAX_HELD_BYTES`, reading
pauses until the running handler is done.

A stream that cannot be ended cleanly is cut: the terminating chunk is not sent. So a client cannot mistake a partial
response for a complete one. In HTTP/1.0 the end of the connection is the end of the body, so the cut is a reset.

Before the server closes a connection, it shuts down its sending side and discards further bytes, within limits. To
close with unread bytes would send a reset. A reset can destroy a response that the client has not read yet.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from api.http.responder import Headers
from engine.tasks import TaskSet
from translate import sse

MAX_HEAD_BYTES = 64 * 1024
MAX_HELD_BYTES = 64 * 1024
LINGER_S = 5.0
LINGER_BYTES = 256 * 1024 * 1024
CRASHED = "The server had an error while processing your request."

_log = logging.getLogger(__name__)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

type Handler = Callable[[Request, Exchange], Awaitable[None]]
type RenderError = Callable[[int, str], tuple[list[tuple[str, str]], bytes]]


def render_plain_error(status: int, message: str) -> tuple[list[tuple[str, str]], bytes]:
    """Render an error as one line of text, for servers that set no error format of their own."""
    return [("content-type", "text/plain; charset=utf-8")], f"{status} {message}\n".encode()


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request. The path is still percent-encoded. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. `name` is in lower case."""
        return next((value for key, value in self.headers if key == name), None)


class Exchange:
    """The response to one request. Call either `respond`, or `start`, then `send` repeatedly, then `finish`.

    Every method that writes raises ConnectionResetError once the connection is gone.
    """

    __slots__ = ("_connection", "_has_body", "_is_head", "disconnected", "ended", "headers", "started")

    def __init__(self, connection: "_Connection", method: str) -> None:
        self._connection = connection
        self._is_head = method == "HEAD"
        self._has_body = True
        self.headers: list[tuple[str, str]] = []
        """Headers that are added to the response, also if it is an error."""
        self.started = False
        """Whether the status has been sent."""
        self.ended = False
        """Whether the response is complete, or was cut by either side."""
        self.disconnected = False
        """Whether the client disconnected before the response was complete."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole response in one write. Add `content-length`."""
        head = self._head(status, [*headers, ("content-length", str(len(body)))])
        self._connection.write(head, h11.Data(data=body if self._has_body else b""), h11.EndOfMessage())
        self.started = self.ended = True
        await self._connection.drain()

    async def start(self, status: int, headers: Headers) -> None:
        """Send the headers of a response of unknown length. It is chunked; in HTTP/1.0 it ends with the connection."""
        self._connection.write(self._head(status, headers))
        self.started = True

    async def send(self, data: bytes) -> None:
        """Send one chunk as one write."""
        if self._has_body:
            self._connection.write(h11.Data(data=data))
            await self._connection.drain()

    async def send_events(self, events: Sequence[sse.EncodedEvent]) -> None:
        """Send events of an event stream, in one write."""
        await self.send(sse.stream_bytes(events))

    async def send_keep_alive(self) -> None:
        """Send a comment, so that the connection is not closed as idle."""
        await self.send(sse.KEEP_ALIVE)

    async def finish(self) -> None:
        """End the stream cleanly."""
        self._connection.write(h11.EndOfMessage())
        self.ended = True

    def upgrade(self, headers: Headers, receive: Callable[[bytes], None]) -> None:
        """Switch to the protocol that the request proposed. Pass all further bytes to `receive`.

        After that, use `write`, `drain`, `pause_reading` and `resume_reading`.
        """
        self._connection.upgrade(headers, receive)
        self.started = True

    def write(self, data: bytes) -> None:
        """Write bytes of the new protocol, as one write. Drop them if the connection is closing."""
        self._connection.write_raw(data)

    async def drain(self) -> None:
        """Wait while the transport's buffer is above its high-water mark."""
        await self._connection.drain()

    def pause_reading(self) -> None:
        """Stop reading from the peer."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading."""
        self._connection.resume_reading()

    def when_ending(self, callback: Callable[[], None]) -> None:
        """Set the function to call when the server shuts down. It should end a long-lived connection."""
        self._connection.when_ending(callback)

    def abort(self) -> None:
        """Cut the connection, so that the client cannot mistake a partial response for a complete one."""
        self.ended = True
        self._connection.cut()

    def _head(self, status: int, headers: Headers) -> h11.Response:
        self._has_body = not (self._is_head or status in (204, 304))
        return h11.Response(status_code=status, headers=[*headers, *self.headers], reason=_REASONS.get(status, b""))


class Server:
    """Listen on `ports` ports of `host`. The system chooses them, except for the first if `port` is not 0.

    A request gets 408 if its headers take longer than `read_timeout_s`, or if its body pauses for that long.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        ports: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body_bytes: int = 64 * 1024 * 1024,
        read_timeout_s: float = 60.0,
        drain_s: float = 0.0,
        render_error: RenderError = render_plain_error,
    ) -> None:
        self.handler = handler
        self.render_error = render_error
        self.max_body_bytes = max_body_bytes
        self.read_timeout_s = read_timeout_s
        self.drain_s = drain_s
        self.closing = False
        self.connections: set[_Connection] = set()
        self.tasks = TaskSet()
        self.addresses: list[tuple[str, int]] = []
        self._host = host
        self._ports = [port, *(0 for _ in range(ports - 1))]
        self._listeners: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            for port in self._ports:
                listener = await loop.create_server(lambda: _Connection(self), self._host, port, backlog=512)
                self._listeners.append(listener)
                self.addresses.append(listener.sockets[0].getsockname()[:2])
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose(self.drain_s)

    async def aclose(self, drain_s: float = 0.0) -> None:
        """Stop listening, give running handlers `drain_s` seconds to end, and cancel the rest."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        self.say_ending()
        if drain_s > 0:
            await self.tasks.wait(drain_s)
        await self.tasks.cancel()
        if self.connections:  # some still flush the end of a response
            await asyncio.wait([connection.closed for connection in self.connections], timeout=1.0)
        for connection in tuple(self.connections):
            connection.cut()
        for listener in self._listeners:
            await listener.wait_closed()

    def say_ending(self) -> None:
        """Call the `when_ending` callbacks of all connections."""
        for connection in tuple(self.connections):
            connection.say_ending()


class _Connection(asyncio.Protocol):
    """One connection: its bytes, its h11 state, and the task of the request that is being answered."""

    def __init__(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._held_bytes = 0
        self._lingering = False
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._when_ending: Callable[[], None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.connections.add(self)
        if self._server.closing:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._held_bytes += len(data)
            if self._held_bytes > LINGER_BYTES:
                self._transport.abort()
            return
        if self._receive is not None:
            self._receive(data)
            return
        self._http.receive_data(data)
        if self.task is None:
            self._take_events()
            return
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self._peer_left()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        self._peer_left()
        self.resume_writing()
        self._server.connections.discard(self)
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What Exchange and Server call.

    def write(self, *events: h11.Event) -> None:
        """Write the bytes of h11 events, as one write."""
        if self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._transport.write(b"".join([self._http.send(event) or b"" for event in events]))

    def upgrade(self, headers: Headers, receive: Callable[[bytes], None]) -> None:
        """Switch protocols. Pass bytes that have already arrived to `receive`."""
        self.write(h11.InformationalResponse(status_code=101, headers=list(headers), reason=b"Switching Protocols"))
        self._receive = receive
        early, _ = self._http.trailing_data
        self._transport.resume_reading()
        if early:
            receive(early)

    def write_raw(self, data: bytes) -> None:
        """Write bytes that are not HTTP."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def when_ending(self, callback: Callable[[], None]) -> None:
        """Set the function to call when the server shuts down."""
        self._when_ending = callback

    def say_ending(self) -> None:
        """Call the `when_ending` callback, if there is one."""
        if self._when_ending is not None:
            self._when_ending()

    async def drain(self) -> None:
        """Wait while the transport's buffer is above its high-water mark."""
        if self._drained:
            # Several tasks may wait. If one is cancelled, it must not cancel the future for the others.
            await asyncio.shield(self._drained)

    def cut(self) -> None:
        """Close without a clean end. In HTTP/1.0 send a reset, since a normal close would be a clean end."""
        if self._http.their_http_version == b"1.0" and not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Close unless a request is being answered."""
        if self.task is None:
            self._transport.close()

    # Reading.

    def _take_events(self) -> None:
        while self.task is None and not self._lingering:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body.append(event.data)
                self._body_bytes += len(event.data)
                if self._body_bytes > self._server.max_body_bytes:
                    self._refuse_body()
            elif isinstance(event, h11.EndOfMessage):
                self._set_timer(None)
                self._run_handler()
            else:
                self._wait_for_more()
                return

    def _wait_for_more(self) -> None:
        """Start the timer at the first byte of the headers. Restart it at each piece of a body.

        No timer runs between requests.
        """
        if self._head or (self._http.trailing_data[0] and not self._timer):
            self._set_timer(self._server.read_timeout_s)

    def _set_timer(self, timeout_s: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(timeout_s, self._too_slow) if timeout_s is not None else None

    def _begin(self, head: h11.Request) -> None:
        self._head, self._body, self._body_bytes = head, [], 0
        length = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in head.headers}:
            # Two parsers could read it as two different messages (RFC 9112, section 6.1).
            self._refuse(400, "A request has a Content-Length or a Transfer-Encoding, not both.")
        elif sum(len(name) + len(value) + 4 for name, value in head.headers) > MAX_HEAD_BYTES:
            # h11 limits only headers that arrive in pieces.
            self._refuse(431, f"The request's headers are larger than {MAX_HEAD_BYTES} bytes.")
        elif length > self._server.max_body_bytes:
            self._refuse_body()
        elif self._http.they_are_waiting_for_100_continue:
            self.write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))

    def _refuse_body(self) -> None:
        self._refuse(413, f"The request body is larger than {self._server.max_body_bytes} bytes.")

    def _too_slow(self) -> None:
        self._refuse(408, "The request did not arrive in time.")

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request without its handler, and close the connection."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._transport.is_closing():
            headers, body = self._server.render_error(status, message)
            headers = [*headers, ("content-length", str(len(body))), ("connection", "close")]
            head = h11.Response(status_code=status, headers=headers, reason=_REASONS.get(status, b""))
            has_body = self._head is None or self._head.method != b"HEAD"
            self.write(head, h11.Data(data=body if has_body else b""), h11.EndOfMessage())
        self._body = []
        self._linger()

    def _linger(self) -> None:
        """Shut down sending, and discard further bytes until the peer closes or the limits are reached."""
        self._set_timer(None)
        self._lingering, self._held_bytes = True, 0
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._transport.write_eof()
            self._timer = self._loop.call_later(LINGER_S, self._transport.abort)

    # Answering.

    def _run_handler(self) -> None:
        assert self._head is not None  # noqa: S101
        try:
            request = _request(self._head, b"".join(self._body))
        except ValueError as error:
            self._refuse(400, f"The request's target is no address: {error}.")
            return
        self._head, self._body, self._held_bytes = None, [], 0
        self._exchange = Exchange(self, request.method)
        name = f"{request.method} {request.path}"
        self.task = self._server.tasks.start(self._answer(request, self._exchange), name)

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        try:
            await self._server.handler(request, exchange)
        except asyncio.CancelledError:
            self.cut()
            raise
        except Exception as error:
            if not (isinstance(error, ConnectionError) and self._transport.is_closing()):
                _log.exception("%s %s: the handler failed", request.method, request.path)
        if not exchange.ended and not self._transport.is_closing():
            if exchange.started:
                _log.warning("%s %s: the stream was not finished and is cut", request.method, request.path)
                exchange.abort()
            else:
                await exchange.respond(500, *self._server.render_error(500, CRASHED))
        self._next_request()

    def _next_request(self) -> None:
        self.task = self._exchange = None
        if self._transport.is_closing():
            return
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE or self._server.closing:
            self._linger()
            return
        self._http.start_next_cycle()
        self._held_bytes = 0
        self._transport.resume_reading()
        self._take_events()

    def _peer_left(self) -> None:
        """Cancel the handler, unless its response is complete."""
        if self.task and self._exchange and not self._exchange.ended:
            self._exchange.disconnected = self._exchange.ended = True
            self._transport.abort()
            self.task.cancel()


def _request(head: h11.Request, body: bytes) -> Request:
    """Return the request with these headers and this body. Raises ValueError if the target is invalid."""
    target = head.target.decode("ascii")
    if not target.startswith("/") and "://" in target:  # the absolute form, which proxies use
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    path, _, query = target.partition("?")
    headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
    return Request(head.method.decode("ascii"), path, query, headers, body)
