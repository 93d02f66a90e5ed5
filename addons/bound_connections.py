"""How many connections there may be, and how long one may take to say what it wants.

A connection is *new* until it has made a request: where keys are asked for, one with a key. New connections have few
places and little time. When their places are taken the oldest makes room. So whoever only opens connections loses them
again, and whoever comes with a key finds a place, and file descriptors for the work.

What a client sends is read through a :class:`Reader`, by which an addon can let a client wait while it is looked up,
and can throw away the rest of a request that was refused. Both happen before mitmproxy's layers see a byte.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.bounded_websocket import REFUSED
from addons.proxy_login import ASK_FOR_LOGIN
from addons.turnstile import Turnstile
from settings import Settings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

log = logging.getLogger("understudy")

UNKNOWN_BYTES = 256 * 1024
"""How much is read of a new connection before the head of a request has come, TLS included."""

LINGER_S = 5.0
LINGER_BYTES = 256 * 1024 * 1024
"""How long, and how much, a client may go on sending after it was refused. A reset could destroy the answer."""

WEBSOCKET_READ = 2048
"""How many bytes of a WebSocket are read at once. They may be hundreds of frames, which are handled in one go."""

CONNECTIONS_A_ROUND = 4
"""How many connections begin in one round of the event loop. Each takes about 2 ms; nobody else is served meanwhile."""

DESCRIPTORS_OF_A_REQUEST = 3
"""The client's socket, and the two ends of the connection to the origin."""

MOST_DESCRIPTORS = 8192

DESCRIPTORS_FOR_US = 128
"""For listeners, the store, cassettes, and the pipes of Claude Code's processes."""


class Reader:
    """Reads a client's bytes, when it may and as long as it may. It stands where mitmproxy has its StreamReader."""

    def __init__(self, reader: Any, seen: Callable[[int], bool]) -> None:
        """``seen`` is told how many bytes have come, and says whether reading goes on."""
        self._reader = reader
        self._seen = seen
        self._waits = 0
        self._go = asyncio.Event()
        self._go.set()
        self._lingering = False
        self._slice: int | None = None

    def read_little(self) -> None:
        """From now on read few bytes at a time, and let others have their turn in between."""
        self._slice = WEBSOCKET_READ

    def pause(self) -> None:
        """Read nothing until :meth:`resume` was called as often."""
        self._waits += 1
        self._go.clear()

    def resume(self) -> None:
        """Read on."""
        self._waits -= 1
        if self._waits <= 0:
            self._waits = 0
            self._go.set()

    def linger(self) -> None:
        """Throw away what still comes, for a while, and then say that the client has left."""
        self._lingering = True

    async def read(self, most: int) -> bytes:
        """Return what has come, b"" at the end."""
        while not self._lingering:
            await self._go.wait()
            if self._slice is not None:
                most = min(most, self._slice)
                # What has come already would be read without a pause.
                await asyncio.sleep(0)
            data: bytes = await self._reader.read(most)
            # While it was waited for, somebody may have looked at what had come before.
            await self._go.wait()
            if self._lingering:
                break
            return data if self._seen(len(data)) else b""
        try:
            async with asyncio.timeout(LINGER_S):
                thrown = 0
                while thrown < LINGER_BYTES and (data := await self._reader.read(most)):
                    thrown += len(data)
        except TimeoutError:
            pass
        return b""


class Place:
    """One client connection."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.is_new = True
        self.unread_bytes: int | None = 0
        """Bytes that have come before the first head of a request; None after it. From then on HTTP has bounds."""
        self.flows: set[str] = set()
        """Requests that are on their way."""
        self.is_tunnel = False
        self.timer: asyncio.TimerHandle | None = None


class BoundConnections:
    """Give each connection a place, and take it away again.

    It must come before all addons that answer requests: :class:`addons.judge_heads.JudgeHeads` comes after them.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.client_auth
        self._timeout_s = settings.request_timeout_s
        self._most = settings.max_connections
        self._most_new = settings.max_new_connections
        self._places: OrderedDict[str, Place] = OrderedDict()
        """By the client's id; the one that was used last is the last."""
        self._new: OrderedDict[str, None] = OrderedDict()
        self._turnstile = Turnstile(CONNECTIONS_A_ROUND)

    def running(self) -> None:
        """See how many file descriptors there are."""
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
        """Give a connection a place, and let it begin when it is its turn."""
        self._place(client)
        await self._turnstile.wait()

    def _place(self, client: Client) -> None:
        """Give a connection a place. The oldest that has made no request makes room, then one that rests."""
        if client.transport_protocol != "tcp":
            return
        handler = handler_of(client)
        if handler is None:
            return
        if len(self._new) >= self._most_new:
            self._close(next(iter(self._new)), "it made no request, and others want its place")
        elif len(self._places) >= self._most and not self._make_room():
            log.warning("a connection is refused: there are %d already (max_connections)", len(self._places))
            client.error = "too many connections"
            return
        transport = handler.transports[client]
        place = Place(Reader(transport.reader, lambda count: self._seen(client.id, count)))
        transport.reader = place.reader
        self._places[client.id] = place
        self._new[client.id] = None
        loop = asyncio.get_running_loop()
        place.timer = loop.call_later(self._timeout_s, self._close, client.id, "it made no request in time")

    def client_disconnected(self, client: Client) -> None:
        """Free the place."""
        self._forget(client.id)

    def next_layer(self, data: NextLayer) -> None:
        """Close a connection of which cannot be told what it speaks."""
        if data.layer is None and len(data.data_client()) > UNKNOWN_BYTES:  # type: ignore[no-untyped-call]
            self._close(data.context.client.id, "it speaks no protocol that is known")

    # What makes a connection known

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Let the client wait while its request is looked at."""
        place = self._used(flow.client_conn)
        if place is not None:
            place.unread_bytes = None
            place.flows.add(flow.id)
            place.reader.pause()
        if not self._keys:
            self.is_known(flow.client_conn)

    def was_judged(self, flow: http.HTTPFlow) -> None:
        """Read on, or throw away what still comes of a request that was refused."""
        place = self._places.get(flow.client_conn.id)
        if place is not None:
            place.reader.resume()

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Know who asks for a tunnel, where no keys are asked for."""
        if (place := self._used(flow.client_conn)) is not None:
            place.unread_bytes = None
        if not self._keys:
            self.is_known(flow.client_conn)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Know who is connected with someone by a door that asks for nothing: transparent mode, for example."""
        if not self._keys or not isinstance(data.client.proxy_mode, (*ASK_FOR_LOGIN, ReverseMode)):
            self.is_known(data.client)

    def is_known(self, client: Client) -> None:
        """Take a connection out of those that are new."""
        self._new.pop(client.id, None)
        place = self._places.get(client.id)
        if place is not None and place.is_new:
            place.is_new = False
            if place.timer is not None:
                place.timer.cancel()
                place.timer = None

    def is_tunnel(self, client: Client) -> None:
        """Keep a connection that never rests: what passes through it is not looked at."""
        if (place := self._places.get(client.id)) is not None:
            place.is_tunnel = True

    # The end of requests

    def response(self, flow: http.HTTPFlow) -> None:
        """Let go of a request."""
        place = self._used(flow.client_conn)
        if place is None:
            return
        if flow.websocket is None:
            place.flows.discard(flow.id)
        if REFUSED in flow.metadata and not (flow.request.is_http2 or flow.request.is_http3):
            place.reader.linger()

    def error(self, flow: http.HTTPFlow) -> None:
        """Let go of a request."""
        if (place := self._used(flow.client_conn)) is not None:
            place.flows.discard(flow.id)

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """Read a WebSocket in small pieces, so that many small frames delay nobody else."""
        if (place := self._used(flow.client_conn)) is not None:
            place.reader.read_little()

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Let go of a WebSocket."""
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
        """Close the connection that has rested the longest. Returns whether there was one."""
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
        log.log(level, "a connection is closed: %s", why)
        close(handler)

    def _forget(self, client_id: str) -> None:
        self._new.pop(client_id, None)
        place = self._places.pop(client_id, None)
        if place is not None and place.timer is not None:
            place.timer.cancel()


def close(handler: Any) -> None:
    """Cut a client's connection, as mitmproxy does when one was silent for too long."""
    io = handler.transports.get(handler.client)
    if io is None:
        return
    if io.handler is not None:
        io.handler.cancel("closed by Understudy")
    if io.writer is not None and hasattr(io.writer, "transport"):
        # mitmproxy leaves it open if it is cancelled while it handles what came.
        io.writer.transport.abort()


def raise_descriptors() -> None:
    """Let this process open as many files as its hard limit allows, up to :data:`MOST_DESCRIPTORS`.

    Shells and service managers give 1,024, since old programs know no more. What we start inherits the new limit.
    """
    if resource is None:
        return

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a smaller limit of its own than the one that it tells.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors() -> int | None:
    """Return how many file descriptors this process may have open; None where the system has no such number."""
    if resource is None:
        return None

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _server() -> Any:
    return ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]


def handler_of(client: Client) -> Any:
    """Return mitmproxy's handler of a client's connection, None if it is gone."""
    return _server().connections.get(client.id)
