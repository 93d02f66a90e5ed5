"""WebSockets (RFC 6455) on connections that were HTTP/1.1: wsproto parses the bytes, the server does the I/O.

Text messages are delivered whole, one after the other. The memory per peer is limited: if more than one message of the
largest size is waiting, reading stops until messages are taken.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits
from wsproto.utilities import LocalProtocolError, generate_accept_token

from api.http.server import Exchange, Request
from translate.errors import OpenAIError

VERSION = "13"

NORMAL, GOING_AWAY, UNSUPPORTED = 1000, 1001, 1003


def is_upgrade(request: Request) -> bool:
    """Whether a request is a WebSocket handshake."""
    return (request.header("upgrade") or "").strip().lower() == "websocket"


class MessageLimit(Extension):
    """Refuse a message (1009) at the header of the frame that makes it larger than ``max_bytes``.

    wsproto passes each frame's header to the extensions before the frame's data. This extension works together with
    others. It is never offered to the peer.
    """

    name = "x-understudy-limit"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._before = self._bytes = 0
        self._is_control = False

    def enabled(self) -> bool:
        """Return True: the extension is always active."""
        return True

    def offer(self) -> bool:
        """Return False: the extension is not offered to the peer."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        """Check a frame's header. wsproto may call this twice. Raises ParseFailed, which closes the WebSocket."""
        self._is_control = opcode.iscontrol()
        if not self._is_control:
            self._bytes = self._before + payload_length
            if self._bytes > self._max_bytes:
                raise ParseFailed(f"a message has at most {self._max_bytes} bytes", CloseReason.MESSAGE_TOO_BIG)
        return RsvBits(False, False, False)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Count a complete frame. Control frames may come between those of a message."""
        if not self._is_control:
            self._before = 0 if fin else self._bytes


class WebSocket:
    """The server's side of one WebSocket."""

    def __init__(self, exchange: Exchange, *, max_bytes: int) -> None:
        """Set up the state. Use :meth:`accept` to create one from a request."""
        self._exchange = exchange
        self._max_bytes = max_bytes
        self._protocol = Connection(ConnectionType.SERVER, [MessageLimit(max_bytes)])
        self._messages: deque[str] = deque()
        self._news = asyncio.Event()
        self._part: list[str] = []
        self._part_bytes = 0
        self._held_bytes = 0
        self._over = False

    @classmethod
    def accept(cls, request: Request, exchange: Exchange, *, max_bytes: int) -> Self:
        """Accept a WebSocket handshake. ``max_bytes`` is the size limit of a message.

        Raises OpenAIError if the handshake is invalid (RFC 6455, section 4.2.1): 400, or 426 for another version.
        """
        key, version = request.header("sec-websocket-key"), request.header("sec-websocket-version")
        if version != VERSION:
            exchange.headers.append(("sec-websocket-version", VERSION))
            raise OpenAIError(f"WebSockets are spoken in version {VERSION}.", status=426, code="upgrade_required")
        if request.method != "GET" or not key or not key.isascii():
            raise OpenAIError("This is no WebSocket handshake: a GET with a Sec-WebSocket-Key is expected.")
        socket = cls(exchange, max_bytes=max_bytes)
        accepted = generate_accept_token(key.encode("ascii")).decode("ascii")
        headers = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", accepted)]
        exchange.upgrade(headers, socket.received)
        return socket

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is ConnectionState.OPEN

    async def messages(self) -> AsyncIterator[str]:
        """Yield text messages as they arrive, until either side closes."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                self._held_bytes -= len(message)
                if self._held_bytes <= self._max_bytes:
                    self._exchange.resume_reading()
                yield message
            if self._over:
                return
            self._news.clear()
            await self._news.wait()

    async def send(self, text: str) -> None:
        """Send a text message, as one write. Nothing is sent once the WebSocket is closing."""
        await self._send(TextMessage(data=text))

    async def ping(self) -> None:
        """Send a ping."""
        await self._send(Ping())

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and end :meth:`messages`."""
        if self.is_open:
            await self._send(CloseConnection(code=code, reason=reason))
        self._end()

    def end(self) -> None:
        """Accept no further messages. Those that have arrived are still yielded."""
        self._end()

    def abort(self) -> None:
        """Cut the connection."""
        self._exchange.abort()

    def received(self, data: bytes) -> None:
        """Process bytes from the connection."""
        if self._over:
            return
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                self._take(event)
        except LocalProtocolError:
            self._end()

    def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._add(event)
            case BytesMessage():
                self._refuse(UNSUPPORTED, "only text is understood")
            case Ping():
                self._exchange.write(self._protocol.send(event.response()))
            case Pong():
                pass
            case CloseConnection():
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self._exchange.write(self._protocol.send(event.response()))
                    self._end()
                else:  # the peer broke the protocol, and the event has the reason
                    self._refuse(event.code, event.reason or "")

    def _add(self, event: TextMessage) -> None:
        self._part.append(event.data)
        self._part_bytes += len(event.data)
        if event.message_finished:
            self._messages.append("".join(self._part))
            self._held_bytes += self._part_bytes
            self._part, self._part_bytes = [], 0
            if self._held_bytes > self._max_bytes:
                self._exchange.pause_reading()
            self._news.set()

    def _refuse(self, code: int, reason: str) -> None:
        if self.is_open:
            self._exchange.write(self._protocol.send(CloseConnection(code=code, reason=reason)))
        self._end()

    def _end(self) -> None:
        self._over = True
        self._news.set()

    async def _send(self, event: Event) -> None:
        if self.is_open:
            self._exchange.write(self._protocol.send(event))
            await self._exchange.drain()
