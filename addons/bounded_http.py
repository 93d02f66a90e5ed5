"""mitmproxy's HTTP layers, with limits: a request is refused at its headers, or as soon as it is too large or too slow.

mitmproxy reads a whole body before any addon can refuse it, and it reads request headers without a limit. The
layers here change only that:

- If an addon sets a response in ``requestheaders``, it is sent at once. The rest of the request's body is discarded.
- Each body has a size limit (``max_body_bytes``, 413). All bodies in memory share a limit, and each API key has a
  share of it (``max_bodies_mb``, 503). Each body has time limits (``request_timeout_s`` and
  ``min_upload_bytes_per_s``, 408).
- HTTP/1 request headers have a size limit (431) and a time limit (408). For HTTP/2, the h2 library limits the headers.
- A body for a host that is not simulated is streamed, not stored.
- The trailers of a chunked body are dropped, as RFC 9112, section 7.1.2, allows. mitmproxy would close the connection.
- WebSocket messages have limits: see :mod:`addons.bounded_websocket`.

Theory of operation: mitmproxy's layers do no I/O. A ``next_layer`` hook (:class:`addons.bound_requests.BoundRequests`)
puts ``BoundedHttpLayer`` where mitmproxy's own addon has put an ``HttpLayer``. It creates its own connections
and streams. Time limits use mitmproxy's ``Wakeup`` event. Each connection has at most one pending wakeup.
"""

import re
import time
import weakref
from collections.abc import Iterator

import h2.errors
import h2.stream
import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream, HttpLayer, HTTPMode, HttpStream, SendHttp, is_h3_alpn
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Server

from addons.bounded_websocket import REFUSED, BoundedWebsocketLayer, SlowMessage
from api.body_bounds import Bounds
from api.failures import render_error
from api.http.server import MAX_HEAD_BYTES

SHUT_OUT_S = 5.0
"""How long a client may take to read the error if it was refused before its headers were complete."""

_BLANK_LINE = re.compile(rb"\n\r?\n")

HOLDER = "understudy_holder"
"""``flow.metadata``: a number that stands for the request's API key. It is set if keys are required."""

STREAMED = "understudy_streamed"
"""``flow.metadata``: bodies are streamed, not stored."""


class SlowBody(HttpEvent):
    """A body or a WebSocket message arrives too slowly."""


class BoundedHttpLayer(HttpLayer):
    """An ``HttpLayer`` that limits the size and the time of requests."""

    def __init__(self, context: Context, mode: HTTPMode, bounds: Bounds) -> None:
        super().__init__(context, mode)
        self.bounds = bounds
        self.incoming: set[BoundedHttpStream] = set()
        """Streams that are receiving a request body or a WebSocket message."""
        self._alarm: commands.RequestWakeup | None = None

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Start):
            self._make_connection()
        if isinstance(event, events.Wakeup) and event.command is self._alarm:
            self._alarm = None
            yield from self._refuse_the_slow()
        else:
            yield from super()._handle_event(event)
        if self._alarm is None and (due := self._next_due()) is not None:
            # Add 10 ms, so that the time limit has passed at the wakeup.
            self._alarm = commands.RequestWakeup(max(0.0, due - self.bounds.clock()) + 0.01)
            yield self._alarm

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """Create a stream with limits."""
        self.streams[stream_id] = BoundedHttpStream(self.context.fork(), stream_id, self)
        yield from self.event_to_child(self.streams[stream_id], events.Start())

    def _make_connection(self) -> None:
        client = self.context.client
        if is_h3_alpn(client.alpn) or client in self.connections:
            return
        kind = BoundedHttp2Server if client.alpn == b"h2" else BoundedHttp1Server
        self.connections[client] = kind(self.context.fork(), self.bounds)

    def _dues(self) -> Iterator[float]:
        yield from (stream.due for stream in self.incoming)
        connection = self.connections.get(self.context.client)
        if isinstance(connection, BoundedHttp1Server) and connection.due is not None:
            yield connection.due

    def _next_due(self) -> float | None:
        return min(self._dues(), default=None)

    def _refuse_the_slow(self) -> CommandGenerator[None]:
        now = self.bounds.clock()
        for stream in [stream for stream in self.incoming if stream.due <= now]:
            yield from self.event_to_child(stream, SlowBody(stream.stream_id))
        connection = self.connections.get(self.context.client)
        if isinstance(connection, BoundedHttp1Server) and connection.due is not None and connection.due <= now:
            yield from connection.too_slow()


class BoundedHttpStream(HttpStream):
    """One request and its response. The request's body has limits."""

    def __init__(self, context: Context, stream_id: int, parent: BoundedHttpLayer) -> None:
        super().__init__(context, stream_id)
        self._parent = parent
        self._bounds = parent.bounds
        self._began = self._last = 0.0
        self._received = 0

    @property
    def due(self) -> float:
        """The time at which the body or the WebSocket message becomes too slow, by the clock of ``bounds``."""
        if isinstance(self.child_layer, BoundedWebsocketLayer):
            return self.child_layer.due
        return self._bounds.due(self._began, self._last, self._received)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, SlowBody):
            if self.client_state == self.state_consume_request_body:
                yield from self._refuse(408, "The request did not arrive in time.")
            return
        yield from super()._handle_event(event)
        if self.client_state in (self.state_errored, self.state_done):
            self._parent.incoming.discard(self)
        if self.server_state in (self.state_errored, self.state_done) or self.client_state == self.state_errored:
            self._bounds.release(id(self))

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        """Read the request headers. If an addon sets a response, send it at once."""
        self._began = self._last = self._bounds.clock()
        yield from super().state_wait_for_request_headers(event)
        if self.client_state == self.state_errored or event.end_stream:
            return
        if self.client_state == self.state_consume_request_body and self.flow.response is not None:
            yield from self._answer_now()
        elif self.client_state == self.state_consume_request_body:
            self._began = self._last = self._bounds.clock()
            self._parent.incoming.add(self)

    def state_consume_request_body(
        self, event: RequestData | RequestTrailers | RequestEndOfMessage
    ) -> CommandGenerator[None]:
        """Store a piece of the body. Refuse the request if a limit is exceeded."""
        if isinstance(event, RequestData):
            if not self._received:
                # Release the memory count when the stream is collected, however it ends.
                weakref.finalize(self, self._bounds.release, id(self)).atexit = False
            self._count(event)
            holder = self.flow.metadata.get(HOLDER)
            if (refusal := self._bounds.hold(id(self), len(event.data), holder)) is not None:
                yield from self._refuse(*refusal)
                return
        elif isinstance(event, RequestEndOfMessage):
            self._has_ended()
        yield from super().state_consume_request_body(event)

    def state_stream_request_body(
        self, event: RequestData | RequestTrailers | RequestEndOfMessage
    ) -> CommandGenerator[None]:
        """Pass a piece of the body on. There is no time limit, since the body uses no memory."""
        yield from super().state_stream_request_body(event)
        if STREAMED in self.flow.metadata:
            self.request_body_buf.clear()  # type: ignore[no-untyped-call]

    def state_consume_response_body(
        self, event: ResponseData | ResponseTrailers | ResponseEndOfMessage
    ) -> CommandGenerator[None]:
        """Store a piece of the response. Stream a response that is too large to store."""
        yield from super().state_consume_response_body(event)
        if len(self.response_body_buf) > self._bounds.max_body_bytes and self.flow.response is not None:
            held = bytes(self.response_body_buf)
            self.response_body_buf.clear()  # type: ignore[no-untyped-call]
            self.flow.metadata[STREAMED] = self.flow.response.stream = True
            yield from self.start_response_stream()
            yield from self.state_stream_response_body(ResponseData(self.stream_id, held))

    def state_stream_response_body(
        self, event: ResponseData | ResponseTrailers | ResponseEndOfMessage
    ) -> CommandGenerator[None]:
        """Pass a piece of the response on."""
        yield from super().state_stream_response_body(event)
        if STREAMED in self.flow.metadata:
            self.response_body_buf.clear()  # type: ignore[no-untyped-call]

    def flow_done(self) -> CommandGenerator[None]:
        """End the flow, or continue it as a WebSocket with limits."""
        self._bounds.release(id(self))
        if not self.flow.websocket:
            yield from super().flow_done()
            return
        self.child_layer = BoundedWebsocketLayer(
            self.context, self.flow, self._bounds, holder=self.flow.metadata.get(HOLDER)
        )
        self._handle_event = self.passthrough  # type: ignore[method-assign]
        yield from self.child_layer.handle_event(events.Start())
        # As in mitmproxy, send this after the layer has started, since data may follow at once.
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        """Pass events to the WebSocket layer, and track whether a message is being received."""
        if isinstance(event, SlowBody):
            event = SlowMessage()
        yield from super().passthrough(event)
        if isinstance(self.child_layer, BoundedWebsocketLayer) and self.child_layer.is_receiving:
            self._parent.incoming.add(self)
        else:
            self._parent.incoming.discard(self)

    def _count(self, event: RequestData) -> None:
        self._received += len(event.data)
        self._last = self._bounds.clock()

    def _has_ended(self) -> None:
        self._parent.incoming.discard(self)

    def _refuse(self, status: int, message: str) -> CommandGenerator[None]:
        headers, body = render_error(status, message)
        if status == 503:
            headers.append(("retry-after", "1"))
        self.flow.response = http.Response.make(status, body, dict(headers))
        yield from self._answer_now()

    def _answer_now(self) -> CommandGenerator[None]:
        """Send the flow's response, and read no more of the request."""
        assert self.flow.response is not None  # noqa: S101 - the callers have set it
        self._has_ended()
        self._bounds.release(id(self))
        self.request_body_buf.clear()  # type: ignore[no-untyped-call]
        self.flow.metadata[REFUSED] = True
        if not (self.flow.request.is_http2 or self.flow.request.is_http3):
            self.flow.response.headers["connection"] = "close"
        self.flow.response.timestamp_start = time.time()
        self.client_state = self.state_errored
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        yield from self.send_response()
        if self.server_state == self.state_errored:
            return  # the client has disconnected before it was answered
        self.flow.live = False
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        yield DropStream(self.stream_id)


class WithoutTrailers:
    """Read a chunked body as h11 does, but drop its trailers."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader

    def __call__(self, buffer: ReceiveBuffer) -> h11.Event | None:
        """Return the next event, or None if more data is needed."""
        event = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event

    def read_eof(self) -> h11.Event:
        """Return the event for the end of the connection."""
        return self._reader.read_eof()


class BoundedHttp1Server(Http1Server):
    """The client's side of HTTP/1, with limits on headers, chunk headers and trailers."""

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self._bounds = bounds
        self.due: float | None = None
        """The time by which started request headers must be complete, by the clock of the bounds."""

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read request headers. Refuse them if they are too large."""
        # Check before parsing, so that the limit is the same for headers that arrive at once and in pieces.
        begins = bytes(self.buf)[:MAX_HEAD_BYTES] if len(self.buf) > MAX_HEAD_BYTES else b""
        if begins and not _BLANK_LINE.search(begins):
            yield from self._refuse(431, f"The request's headers are larger than {MAX_HEAD_BYTES} bytes.")
            return
        yield from super().read_headers(event)
        if self.state != self.read_headers or not self.buf:
            self.due = None
        elif self.due is None:
            self.due = self._bounds.clock() + self._bounds.timeout_s

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read a piece of a body."""
        if isinstance(self.body_reader, ChunkedReader):
            self.body_reader = WithoutTrailers(self.body_reader)  # type: ignore[assignment]
        yield from super().read_body(event)
        # The body's bytes have been removed from the buffer. The rest is an unfinished chunk header or trailers.
        if self.state == self.read_body and len(self.buf) > MAX_HEAD_BYTES:
            yield from self._give_up("a chunk's head or the trailers are too large")

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the response. Meanwhile the client may send at most MAX_HEAD_BYTES of its next request."""
        yield from super().wait(event)
        if len(self.buf) > MAX_HEAD_BYTES:
            yield from self._give_up("the client sends on before it was answered")

    def shut_out(self, event: events.Event) -> CommandGenerator[None]:
        """Discard further data. Close when the client closes, or after SHUT_OUT_S."""
        self.buf = ReceiveBuffer()
        if isinstance(event, events.ConnectionClosed):
            self.due = None
            yield commands.CloseConnection(self.conn)

    def too_slow(self) -> CommandGenerator[None]:
        """Refuse headers that are too slow. Close the connection if the client was already refused."""
        if self.state == self.shut_out:
            self.due = None
            yield commands.CloseConnection(self.conn)
        else:
            yield from self._refuse(408, "The request did not arrive in time.")

    def _refuse(self, status: int, message: str) -> CommandGenerator[None]:
        headers, body = render_error(status, message)
        answer = http.Response.make(status, body, {**dict(headers), "connection": "close"})
        answer.http_version = "HTTP/1.1"
        raw: bytes = http1.assemble_response(answer)  # type: ignore[no-untyped-call]
        yield commands.SendData(self.conn, raw)
        self.buf = ReceiveBuffer()
        self.state = self.shut_out
        self.due = self._bounds.clock() + SHUT_OUT_S

    def _give_up(self, why: str) -> CommandGenerator[None]:
        self.buf = ReceiveBuffer()
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(RequestProtocolError(self.stream_id, why, self.ReceiveProtocolError.code))


class BoundedHttp2Server(Http2Server):
    """The client's side of HTTP/2. It resets a stream whose request is answered early, so that the client stops."""

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        if not isinstance(event, ResponseEndOfMessage):
            return
        stream = self.h2_conn.streams.get(event.stream_id)
        if stream is not None and stream.state_machine.state is h2.stream.StreamState.HALF_CLOSED_LOCAL:
            # RFC 9113, section 8.1: the response is complete, and the rest of the request is not needed.
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self.streams.pop(event.stream_id, None)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
