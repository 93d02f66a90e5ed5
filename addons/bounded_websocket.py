"""mitmproxy's WebSocket layer, with a bound on messages: a longer one closes the WebSocket with 1009."""

from collections.abc import Iterable
from typing import Any

import wsproto
from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer

from origin.websocket import MessageLimit


class BoundedWebsocketLayer(WebsocketLayer):
    """Passes messages on, each of at most ``max_bytes`` in either direction.

    No extension is spoken: :class:`addons.bound_requests.BoundRequests` takes offers of one out of the handshake, since
    a compressed message may unpack to any size.
    """

    def __init__(self, context: Context, flow: http.HTTPFlow, max_bytes: int) -> None:
        super().__init__(context, flow)
        self._max_bytes = max_bytes

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        assert self.flow.response is not None  # noqa: S101 - it is what has opened the WebSocket
        if "sec-websocket-extensions" in self.flow.response.headers:
            # Nobody has offered one.
            for connection in (self.context.client, self.context.server):
                yield commands.CloseConnection(connection)
            self._handle_event = self.done  # type: ignore[method-assign]
            return
        for command in self.start(event):
            if isinstance(command, commands.StartHook):
                # The first thing that happens after mitmproxy has made its own two.
                self.client_ws = self._bounded(wsproto.ConnectionType.SERVER, self.context.client)
                self.server_ws = self._bounded(wsproto.ConnectionType.CLIENT, self.context.server)
            yield command

    def _bounded(self, kind: wsproto.ConnectionType, conn: Connection) -> "BoundedWebsocketConnection":
        return BoundedWebsocketConnection(kind, [MessageLimit(self._max_bytes)], conn=conn)


class BoundedWebsocketConnection(WebsocketConnection):
    """One side of a WebSocket. The fragments of a message grow in place, where mitmproxy copies all for each piece."""

    @property
    def frame_buf(self) -> "_Fragments":
        """The frames of the message that is coming."""
        return self._frames

    @frame_buf.setter
    def frame_buf(self, frames: Iterable[bytes]) -> None:
        self._frames = _Fragments(map(bytearray, frames))


class _Fragments(list[Any]):
    def append(self, frame: bytes) -> None:
        super().append(bytearray(frame))
