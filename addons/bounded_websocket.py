"""mitmproxy's WebSocket layer, with limits on the messages that clients send.

A message that is too large closes the WebSocket with 1009. A message that is too slow closes it with 1008. The limits
are those of request bodies (``request_timeout_s``, ``min_upload_bytes_per_s``). There is no limit between messages.
A message that exceeds the shared memory limit closes the WebSocket with 1013.
"""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import wsproto
from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketEndHook, WebsocketLayer
from wsproto.events import CloseConnection
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from api.body_bounds import Bounds
from api.http.websocket import MessageLimit

REFUSED = "understudy_refused"
"""``flow.metadata``: the client was answered before it had sent the whole request. The rest is discarded."""


class SharedLimit(MessageLimit):
    """A size limit for each message, and the memory limit that all bodies and messages share."""

    def __init__(self, bounds: Bounds, holder: int | None) -> None:
        super().__init__(bounds.max_body_bytes)
        self._bounds = bounds
        self._holder = holder
        self._began = self._last = 0.0
        self._received = 0
        self.is_receiving = False
        """Whether a message has begun but not ended."""
        self.refused = False
        weakref.finalize(self, bounds.release, id(self)).atexit = False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        """Check a frame's header. Raises ParseFailed if the message is too large."""
        try:
            seen = super().frame_inbound_header(proto, opcode, rsv, payload_length)
        except ParseFailed:
            self.refused = True
            raise
        if not (self._is_control or self.is_receiving):
            self.is_receiving = True
            self._began = self._last = self._bounds.clock()
            self._received = 0
        return seen

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        """Count a piece of a frame. Raises ParseFailed if the shared memory limit is exceeded."""
        if self._is_control:
            return data
        if data:
            self._last = self._bounds.clock()
            self._received += len(data)
        if (refusal := self._bounds.hold(id(self), len(data), self._holder)) is not None:
            self.refused = True
            raise ParseFailed(refusal[1], CloseReason.TRY_AGAIN_LATER)
        return data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Count a complete frame. Release the message if it is complete."""
        super().frame_inbound_complete(proto, fin)
        if fin and not self._is_control:
            self.release()

    @property
    def due(self) -> float:
        """The time at which the current message becomes too slow, by the clock of the bounds; infinity if none."""
        return self._bounds.due(self._began, self._last, self._received) if self.is_receiving else float("inf")

    def release(self) -> None:
        """Release the memory count of the current message."""
        self.is_receiving = False
        self._bounds.release(id(self))


@dataclass
class SlowMessage(events.Event):
    """A time limit may have passed while a message arrives."""


class BoundedWebsocketLayer(WebsocketLayer):
    """Relay messages, with limits in both directions.

    No extension is used. :class:`addons.bound_requests.BoundRequests` removes offers of extensions from the handshake,
    since a compressed message may decompress to any size.
    """

    def __init__(self, context: Context, flow: http.HTTPFlow, bounds: Bounds, *, holder: int | None) -> None:
        super().__init__(context, flow)
        self._bounds = bounds
        self._limits = {
            wsproto.ConnectionType.SERVER: SharedLimit(bounds, holder),
            wsproto.ConnectionType.CLIENT: SharedLimit(bounds, holder),
        }

    @property
    def is_receiving(self) -> bool:
        """Whether the client has sent a part of a message."""
        return self._limits[wsproto.ConnectionType.SERVER].is_receiving

    @property
    def due(self) -> float:
        """The time at which the client's current message becomes too slow."""
        return self._limits[wsproto.ConnectionType.SERVER].due

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, SlowMessage):
            return  # no message has begun
        assert self.flow.response is not None  # noqa: S101 - the response has opened the WebSocket
        if "sec-websocket-extensions" in self.flow.response.headers:
            # The handshake offered no extension, so the server must not accept one.
            for connection in (self.context.client, self.context.server):
                yield commands.CloseConnection(connection)
            self._handle_event = self.done  # type: ignore[method-assign]
            return
        for command in self.start(event):
            if isinstance(command, commands.StartHook):
                # This is the first command after mitmproxy has created its two connections. Replace them.
                self.client_ws = self._bounded(wsproto.ConnectionType.SERVER, self.context.client)
                self.server_ws = self._bounded(wsproto.ConnectionType.CLIENT, self.context.server)
            yield command

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Relay messages. Do not close a refused client's connection at once, so that it can read the reason."""
        if isinstance(event, SlowMessage):
            if self.due > self._bounds.clock():
                return  # more of the message has arrived in time
            self._limits[wsproto.ConnectionType.SERVER].refused = True
            # Act as if wsproto had found a protocol error by the client.
            told = CloseConnection(CloseReason.POLICY_VIOLATION, "the message did not arrive in time")
            self.client_ws._events.append(told)
            event = events.DataReceived(self.context.client, b"")
        for command in super().relay_messages(event):
            if isinstance(command, WebsocketEndHook):
                for limit in self._limits.values():
                    limit.release()
            if self._limits[wsproto.ConnectionType.SERVER].refused:
                self.flow.metadata[REFUSED] = True
                if isinstance(command, commands.CloseConnection) and command.connection is self.context.client:
                    continue
            yield command

    def done(self, event: events.Event) -> CommandGenerator[None]:
        """Close a connection that its peer has closed."""
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(event.connection)

    def _bounded(self, kind: wsproto.ConnectionType, conn: Connection) -> "BoundedWebsocketConnection":
        return BoundedWebsocketConnection(kind, [self._limits[kind]], conn=conn)


class BoundedWebsocketConnection(WebsocketConnection):
    """One side of a WebSocket.

    A message grows in place, while mitmproxy would copy it for each piece. Its fragments are joined, as RFC 6455,
    section 5.4, allows. With a buffer for each, one-byte fragments would take a hundred times their size.
    """

    @property
    def frame_buf(self) -> "_Fragments":
        """The frames of the current message."""
        return self._frames

    @frame_buf.setter
    def frame_buf(self, frames: Iterable[bytes]) -> None:
        self._frames = _Fragments(map(bytearray, frames))


class _Fragments(list[Any]):
    def append(self, frame: bytes) -> None:
        """Add nothing: data is appended to the existing fragment."""
