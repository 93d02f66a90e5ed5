"""Limit the number of client connections, and the time until the first request of each.

A connection is *new* until it has made a request. If API keys are required, that request must have a key. The limits on
the number and the age of new connections are low. When too many are new, the oldest new connection is closed. So a
client that only opens connections loses them again. A client with a key still finds a place and file descriptors.

A client's bytes are read through a :class:`addons.client_reader.Reader`, so that the client can be paused.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.bounded_websocket import REFUSED
from addons.client_reader import Reader
from addons.each_ending import SWITCHED
from addons.proxy_login import ASK_FOR_LOGIN
from addons.turnstile import Turnstile
from settings import Settings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

log = logging.getLogger("understudy")

UNKNOWN_BYTES = 256 * 1024
"""How many bytes of a new connection are read before its first request headers are complete. TLS bytes count."""

CONNECTIONS_A_ROUND = 4
"""How many connections begin in one round of the event loop. Each blocks it for about 2 ms."""

DESCRIPTORS_OF_A_REQUEST = 3
"""The client's socket, and the two ends of the connection to the origin."""

MOST_DESCRIPTORS = 8192

DESCRIPTORS_FOR_US = 128
"""Descriptors reserved for listeners, the store, cassettes, and the pipes of Claude Code's processes."""


class Place:
    """One client connection."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.is_new = True
        self.unread_bytes: int | None = 0
        """Bytes received before the first request headers; None after them. Then the limits on HTTP requests apply."""
        self.flows: set[str] = set()
        """The ids of flows that are in progress."""
        self.is_tunnel = False
        self.timer: asyncio.TimerHandle | None = None


class BoundConnections:
    """Give each connection one of a limited number of places, and free the place again.

    It must come before all addons that answer requests. :class:`addons.judge_heads.JudgeHeads` comes after them.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.client_auth
        self._timeout_s = settings.request_timeout_s
        self._most = settings.max_connections
        self._most_new = settings.max_new_connections
        self._places: OrderedDict[str, Place] = OrderedDict()
        """Places by the client's id. The most recently used place comes last."""
        self._new: OrderedDict[str, None] = OrderedDict()
        self._turnstile = Turnstile(CONNECTIONS_A_ROUND)

    def running(self) -> None:
        """Lower the limits if there are too few file descriptors."""
        available = descriptors()
        if available is None:
            return
        most = max(8, (available - DESCRIPTORS_FOR_US) // DESCRIPTORS_OF_A_REQUEST)
        if most < self._most:
            log.warning(
                "only %d file descriptors may be open, so at most %d connections are taken, not %d (max_connections)",
                available,
                most,
                self._most,
            )
        self._most = min(self._most, most)
        self._most_new = min(self._most_new, max(4, self._most // 2))

    # Connections

    async def client_connected(self, client: Client) -> None:
        """Give a connection a place, and wait until it may begin."""
        if self._place(client):
            await self._turnstile.wait(client.id)

    def _place(self, client: Client) -> bool:
        """Give a connection a place, and return whether it got one.

        The oldest connection that has made no request makes room, then one that rests.
        """
        if client.transport_protocol != "tcp":
            return False
        handler = handler_of(client)
        if handler is None:
            return False
        if len(self._new) >= self._most_new:
            self._close(next(iter(self._new)), "it made no request, and others want its place")
        elif len(self._places) >= self._most and not self._make_room():
            log.warning("a connection is refused: there are %d already (max_connections)", self._most)
            client.error = "too many connections"
            return False
        transport = handler.transports[client]
        place = Place(Reader(transport.reader, lambda count: self._seen(client.id, count)))
        transport.reader = place.reader
        self._places[client.id] = place
        self._new[client.id] = None
        loop = asyncio.get_running_loop()
        place.timer = loop.call_later(self._timeout_s, self._close, client.id, "it made no request in time")
        return True

    def client_disconnected(self, client: Client) -> None:
        """Free the place."""
        self._forget(client.id)

    def next_layer(self, data: NextLayer) -> None:
        """Close a connection whose protocol is still unknown after UNKNOWN_BYTES."""
        if data.layer is None and len(data.data_client()) > UNKNOWN_BYTES:  # type: ignore[no-untyped-call]
            self._close(data.context.client.id, "it speaks no protocol that is known")

    # Requests and tunnels: after them a connection is no longer new

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Pause the client until its request headers are accepted or refused."""
        place = self._used(flow.client_conn)
        if place is not None:
            place.unread_bytes = None
            place.flows.add(flow.id)
            place.reader.pause()
        if not self._keys:
            self.is_known(flow.client_conn)

    def was_judged(self, flow: http.HTTPFlow) -> None:
        """Resume reading after the request headers were accepted or refused."""
        place = self._places.get(flow.client_conn.id)
        if place is not None:
            place.reader.resume()

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Mark a connection that requests a tunnel as known, if no API keys are required."""
        if (place := self._used(flow.client_conn)) is not None:
            place.unread_bytes = None
        if not self._keys:
            self.is_known(flow.client_conn)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Mark the client as known if its proxy mode requires no login, such as transparent mode."""
        if not self._keys or not isinstance(data.client.proxy_mode, (*ASK_FOR_LOGIN, ReverseMode)):
            self.is_known(data.client)

    def is_known(self, client: Client) -> None:
        """Mark a connection as no longer new."""
        self._new.pop(client.id, None)
        place = self._places.get(client.id)
        if place is not None and place.is_new:
            place.is_new = False
            if place.timer is not None:
                place.timer.cancel()
                place.timer = None

    def is_tunnel(self, client: Client) -> None:
        """Mark a connection as a tunnel. It never counts as idle, since its content is not inspected."""
        if (place := self._places.get(client.id)) is not None:
            place.is_tunnel = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Read a WebSocket in small pieces, so that many small frames do not delay other clients.

        The client sends its first frame when it has this response.
        """
        opens = flow.response is not None and flow.response.status_code == SWITCHED
        if opens and "websocket" in flow.request.headers.get("upgrade", "").lower():
            place = self._places.get(flow.client_conn.id)
            if place is not None:
                place.reader.read_little()

    # The end of requests

    def response(self, flow: http.HTTPFlow) -> None:
        """Remove a finished request. Discard the rest of one that was refused."""
        place = self._used(flow.client_conn)
        if place is None:
            return
        if flow.websocket is None:
            place.flows.discard(flow.id)
        if REFUSED in flow.metadata and not (flow.request.is_http2 or flow.request.is_http3):
            place.reader.linger()

    def error(self, flow: http.HTTPFlow) -> None:
        """Remove a failed request."""
        if (place := self._used(flow.client_conn)) is not None:
            place.flows.discard(flow.id)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Remove a closed WebSocket. Discard further bytes if it was refused."""
        if (place := self._used(flow.client_conn)) is not None:
            place.flows.discard(flow.id)
            if REFUSED in flow.metadata:
                place.reader.linger()

    # Places

    def _seen(self, client_id: str, count: int) -> bool:
        place = self._places.get(client_id)
        if place is None or not place.is_new or place.unread_bytes is None:
            return True
        place.unread_bytes += count
        if place.unread_bytes > UNKNOWN_BYTES:
            log.warning("a connection is closed: %d bytes have come, and no request", place.unread_bytes)
            return False
        return True

    def _used(self, client: Client) -> Place | None:
        place = self._places.get(client.id)
        if place is not None:
            self._places.move_to_end(client.id)
        return place

    def _make_room(self) -> bool:
        """Close the connection that has been idle the longest. Return False if none is idle."""
        resting = next((id for id, place in self._places.items() if not (place.flows or place.is_tunnel)), None)
        if resting is None:
            return False
        self._close(resting, "it rests, and others want its place")
        return True

    def _close(self, client_id: str, why: str) -> None:
        place = self._places.get(client_id)
        self._forget(client_id)
        handler = _server().connections.get(client_id)
        if place is None or handler is None or handler.client not in handler.transports:
            return
        level = logging.WARNING if place.is_new else logging.INFO
        log.log(level, "a connection is closed: %s", why, extra={"folds": ("closed", why)})
        close(handler)

    def _forget(self, client_id: str) -> None:
        self._turnstile.release(client_id)
        self._new.pop(client_id, None)
        place = self._places.pop(client_id, None)
        if place is not None and place.timer is not None:
            place.timer.cancel()


def close(handler: Any) -> None:
    """Close a client's connection at once, as mitmproxy does after an idle timeout."""
    io = handler.transports.get(handler.client)
    if io is None:
        return
    if io.handler is not None:
        io.handler.cancel("closed by Understudy")
    if io.writer is not None and hasattr(io.writer, "transport"):
        # mitmproxy leaves the transport open if the handler is cancelled while it handles data.
        io.writer.transport.abort()


def raise_descriptors() -> None:
    """Let this process open as many files as its hard limit allows, up to :data:`MOST_DESCRIPTORS`.

    Shells and service managers set 1,024, since old programs cannot use more. Child processes inherit the new limit.
    """
    if resource is None:
        return

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS reports a higher limit than it allows.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors() -> int | None:
    """Return how many file descriptors this process may open. Return None if there is no limit or no way to ask."""
    if resource is None:
        return None

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _server() -> Any:
    return ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]


def handler_of(client: Client) -> Any:
    """Return mitmproxy's handler of a client's connection, or None if it is closed."""
    return _server().connections.get(client.id)
