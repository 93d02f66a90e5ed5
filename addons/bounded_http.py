"""mitmproxy's HTTP layers, with bounds: what a client sends is refused at its head, or as soon as it is too much.

mitmproxy reads a whole body before any addon can refuse it, and it reads a head without an end for ever. The layers
here change that and nothing else:

- An addon that answers in ``requestheaders`` is heard at once. The body is not waited for, and what still comes of it
  is thrown away.
- A body is bounded by itself (``max_body_bytes``, 413), together with all other bodies that the proxy holds
  (``max_bodies_mb``, of which each API key has a share, 503), and in time (``request_timeout_s`` and
  ``min_upload_bytes_per_s``, 408).
- A head in HTTP/1 is bounded in size (431) and in time (408). For HTTP/2 the h2 library bounds it.
- A body for a host that we do not stand in for is passed on as it comes, and is not kept.
- The trailers of a chunked body are dropped, which RFC 9112, section 7.1.2, allows. mitmproxy ends the connection.
- WebSocket messages are bounded: see :mod:`addons.bounded_websocket`.

Theory of operation: mitmproxy's layers do no I/O. A ``next_layer`` hook (:class:`addons.bound_requests.BoundRequests`)
puts ``BoundedHttpLayer`` where mitmproxy's own addon has put an ``HttpLayer``. It makes its own connections and
streams. Time comes in as mitmproxy's ``Wakeup`` event. One wakeup at most is outstanding for a connection.
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

from addons.body_bounds import Bounds
from addons.bounded_websocket import REFUSED, BoundedWebsocketLayer, SlowMessage
from api.failures import render_error
from api.http.server import MAX_HEAD_BYTES

SHUT_OUT_S = 5.0
"""How long a client that was refused in the middle of its head has to read why."""

_BLANK_LINE = re.compile(rb"\n\r?\n")

HOLDER = "understudy_holder"
"""``flow.metadata``: a number that stands for the API key of the request, where keys are asked for."""

STREAMED = "understudy_streamed"
"""``flow.metadata``: bodies are passed on as they come, and are not kept."""


class SlowBody(HttpEvent):
    """A body, or the message of a WebSocket, comes too slowly."""


class BoundedHttpLayer(HttpLayer):
    """An ``HttpLayer`` with bounds on what the client sends."""

    def __init__(self, context: Context, mode: HTTPMode, bounds: Bounds) -> None:
        super().__init__(context, mode)
        self.bounds = bounds
        self.incoming: set[BoundedHttpStream] = set()
        """Streams whose bodies are on their way."""
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
            # A little later, so that it is over by then.
            self._alarm = commands.RequestWakeup(max(0.0, due - self.bounds.clock()) + 0.01)
            yield self._alarm

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """Make a stream with bounds."""
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
    """One request and its answer; the request's body has bounds."""

    def __init__(self, context: Context, stream_id: int, parent: BoundedHttpLayer) -> None:
        super().__init__(context, stream_id)
        self._parent = parent
        self._bounds = parent.bounds
        self._began = self._last = 0.0
        self._received = 0

    @property
    def due(self) -> float:
        """When the body, or the message of a WebSocket, is too slow, by the clock of the bounds."""
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
        """Read a head. What an addon answers to it is sent at once."""
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
        """Keep a piece of the body, if there is room for it."""
        if isinstance(event, RequestData):
            if not self._received:
                # However the stream ends: what nobody holds any more does not count.
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
        """Pass a piece of the body on. It may take its time: it takes no room."""
        yield from super().state_stream_request_body(event)
        if STREAMED in self.flow.metadata:
            self.request_body_buf.clear()  # type: ignore[no-untyped-call]

    def state_consume_response_body(
        self, event: ResponseData | ResponseTrailers | ResponseEndOfMessage
    ) -> CommandGenerator[None]:
        """Keep a piece of the answer; pass on what is too large to be kept."""
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
        """Pass a piece of the answer on."""
        yield from super().state_stream_response_body(event)
        if STREAMED in self.flow.metadata:
            self.response_body_buf.clear()  # type: ignore[no-untyped-call]

    def flow_done(self) -> CommandGenerator[None]:
        """End, or go on as a WebSocket: one with bounds."""
        self._bounds.release(id(self))
        if not self.flow.websocket:
            yield from super().flow_done()
            return
        self.child_layer = BoundedWebsocketLayer(
            self.context, self.flow, self._bounds, holder=self.flow.metadata.get(HOLDER)
        )
        self._handle_event = self.passthrough  # type: ignore[method-assign]
        yield from self.child_layer.handle_event(events.Start())
        # As mitmproxy does: not before the layer is there, since data may follow at once.
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        """Let a WebSocket have its bytes, and its time."""
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
        """Send the answer that there is, and take no more of the request."""
        assert self.flow.response is not None  # noqa: S101 - that is what it is called for
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
            return  # the client has left meanwhile, and was not answered
        self.flow.live = False
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        yield DropStream(self.stream_id)


class WithoutTrailers:
    """Reads a chunked body as h11 does, and drops its trailers."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader

    def __call__(self, buffer: ReceiveBuffer) -> h11.Event | None:
        """Return what comes next, None if that is not known yet."""
        event = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event

    def read_eof(self) -> h11.Event:
        """Say what the end of the connection means."""
        return self._reader.read_eof()


class BoundedHttp1Server(Http1Server):
    """The client's side of HTTP/1, with bounds on heads and on what comes between the pieces of a body."""

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)
        self._bounds = bounds
        self.due: float | None = None
        """When a head that has begun must be complete, by the clock of the bounds."""

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read a head."""
        # Before it is taken apart: a head that came at once has no smaller limit than one that came in pieces.
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
        # A body's bytes have been taken out. What is left is the length of a chunk, or trailers, without an end.
        if self.state == self.read_body and len(self.buf) > MAX_HEAD_BYTES:
            yield from self._give_up("a chunk's head or the trailers are too large")

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """Wait for the answer. A client may ask for more meanwhile, but not for more than a head."""
        yield from super().wait(event)
        if len(self.buf) > MAX_HEAD_BYTES:
            yield from self._give_up("the client sends on before it was answered")

    def shut_out(self, event: events.Event) -> CommandGenerator[None]:
        """Take nothing more, and wait until the client has read why, or until its time is over."""
        self.buf = ReceiveBuffer()
        if isinstance(event, events.ConnectionClosed):
            self.due = None
            yield commands.CloseConnection(self.conn)

    def too_slow(self) -> CommandGenerator[None]:
        """Answer a head that did not come in time, or close on who was refused a while ago."""
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
    """The client's side of HTTP/2. A stream that is answered before its end is reset, so that the client stops."""

    def __init__(self, context: Context, bounds: Bounds) -> None:
        super().__init__(context)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        if not isinstance(event, ResponseEndOfMessage):
            return
        stream = self.h2_conn.streams.get(event.stream_id)
        if stream is not None and stream.state_machine.state is h2.stream.StreamState.HALF_CLOSED_LOCAL:
            # RFC 9113, section 8.1: the answer is whole, and no more of the request is wanted.
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self.streams.pop(event.stream_id, None)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
