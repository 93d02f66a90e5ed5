"""A WebSocket takes messages however they are cut, and holds no more than it may."""

import asyncio
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from api.http.server import Exchange
from api.http.websocket import WebSocket

pytestmark = pytest.mark.anyio


class Wire(Exchange):
    """An exchange that keeps what is written to it."""

    def __init__(self) -> None:
        self.headers = []
        self.sent = b""
        self.paused = False

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Peer:
    """The other side: what it sends reaches the socket at once, in pieces of ``cut`` bytes."""

    def __init__(self, *, max_bytes: int = 100, cut: int = 1000) -> None:
        self.wire = Wire()
        self.socket = WebSocket(self.wire, max_bytes=max_bytes)
        self._protocol = Connection(ConnectionType.CLIENT)
        self._cut = cut

    def send(self, event: Any) -> None:
        data = self._protocol.send(event)
        for start in range(0, len(data), self._cut):
            self.socket.received(data[start : start + self._cut])

    def received(self) -> list[Any]:
        self._protocol.receive_data(self.wire.sent)
        self.wire.sent = b""
        return list(self._protocol.events())


async def test_messages_come_whole_however_they_are_cut() -> None:
    peer = Peer(cut=1)
    peer.send(TextMessage(data="é one", message_finished=False))
    peer.send(Ping(payload=b"?"))
    peer.send(TextMessage(data=" two"))
    peer.send(TextMessage(data=""))
    peer.send(CloseConnection(code=1000))

    assert [message async for message in peer.socket.messages()] == ["é one two", ""]
    assert [type(event) for event in peer.received()] == [Pong, CloseConnection]


async def test_reading_stops_while_too_much_waits_to_be_taken() -> None:
    peer = Peer(max_bytes=10)
    peer.send(TextMessage(data="12345678"))
    assert not peer.wire.paused
    peer.send(TextMessage(data="12345678"))
    assert peer.wire.paused
    taken = peer.socket.messages()

    assert await anext(taken) == "12345678"
    assert not peer.wire.paused


@pytest.mark.parametrize(
    ("event", "code"), [(TextMessage(data="x" * 101), 1009), (BytesMessage(data=b"x"), 1003)], ids=["long", "binary"]
)
async def test_an_unacceptable_frame_closes_the_websocket(event: Any, code: int) -> None:
    peer = Peer()
    peer.send(event)

    assert [message async for message in peer.socket.messages()] == []
    assert [event.code for event in peer.received()] == [code]


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"GET / HTTP/1.1\r\n\r\n", 1002), (b"\x81\x02hi", 1002), (b"\x81\x82\0\0\0\0\xff\xfe", 1007)],
    ids=["no frame", "not masked", "no UTF-8"],
)
async def test_bytes_that_break_the_protocol_close_and_are_told_how(sent: bytes, code: int) -> None:
    peer = Peer()
    peer.socket.received(sent)
    peer.socket.received(b"and more")

    assert [message async for message in peer.socket.messages()] == []
    assert [event.code for event in peer.received()] == [code]


async def test_nothing_is_sent_once_it_is_closed() -> None:
    peer = Peer()
    await peer.socket.send("one")
    await peer.socket.close(1000, "done")
    await peer.socket.send("two")
    await peer.socket.ping()

    assert [type(event) for event in peer.received()] == [TextMessage, CloseConnection]
    assert not peer.socket.is_open


async def test_the_end_wakes_a_reader_that_waits_for_a_message() -> None:
    peer = Peer()
    waiting = asyncio.ensure_future(anext(peer.socket.messages(), "no more"))
    await asyncio.sleep(0)
    peer.socket.end()

    assert await waiting == "no more"
