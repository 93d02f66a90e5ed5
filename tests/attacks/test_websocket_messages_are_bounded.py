"""A WebSocket's messages are bounded at the head of each frame, in the sum of their fragments, and all together."""

import base64
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.attacks.victim import HOST, MIB, Victim, flood, head_on
from tests.end_to_end.cloud import GUARD_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")

LIMIT = 4 * MIB
SMALL = {"max_body_bytes": LIMIT, "max_bodies_mb": 8, "request_timeout_s": 5}
PATIENT = SMALL | {"request_timeout_s": 60}
SLOW = SMALL | {"request_timeout_s": 1.5, "min_upload_bytes_per_s": 50}
SPARE = 12 * MIB
SENT = 64 * MIB
TEXT, CONTINUATION, CLOSE, PING = 1, 0, 8, 9


@contextmanager
def websocket(proxy: Victim, *, tls: bool = False) -> Iterator[socket.socket]:
    """Open a WebSocket at the base-URL door."""
    key = base64.b64encode(os.urandom(16)).decode()
    with proxy.secure() if tls else proxy.open() as opened:
        upgrade = (
            "Connection: upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        opened.sendall(proxy.head(*upgrade, method="GET", path="/v1/responses"))
        head = head_on(opened)
        assert head.split()[1] == b"101", head
        yield opened


def frame(opcode: int, length: int, *, last: bool = True) -> bytes:
    """Return the head of a frame; its mask changes nothing."""
    if length < 126:
        size = bytes([0x80 | length])
    else:
        size = struct.pack("!BQ", 0xFF, length) if length > 65535 else struct.pack("!BH", 0xFE, length)
    return bytes([0x80 * last | opcode]) + size + bytes(4)


def closed_with(opened: socket.socket) -> tuple[int, str]:
    """Return the code and the reason of the close frame that comes, (0, "") if none does."""
    opened.settimeout(30)
    data = b""
    try:
        while len(data) < 2 or len(data) < 2 + data[1]:
            more = opened.recv(65536)
            if not more:
                return 0, ""
            data += more
    except OSError:
        return 0, ""
    assert data[0] == 0x80 | CLOSE, data[:20]
    return struct.unpack("!H", data[2:4])[0], data[4 : 2 + data[1]].decode()


@pytest.mark.parametrize("tls", [False, True])
def test_a_frame_that_is_too_large_is_refused_at_its_head(tls: bool, victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    with websocket(proxy, tls=tls) as opened:
        opened.sendall(frame(TEXT, 1 << 40))
        assert closed_with(opened) == (1009, f"a message has at most {LIMIT} bytes")


@pytest.mark.parametrize("size", [1000, 65536 * 4], ids=["small fragments", "large fragments"])
def test_fragments_are_counted_together(size: int, victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with websocket(proxy) as opened:
        opened.sendall(frame(TEXT, size, last=False) + b"a" * size)
        piece = (frame(CONTINUATION, size, last=False) + b"a" * size) * (MIB // size)
        flood(opened, piece, SENT)
        assert closed_with(opened) == (1009, f"a message has at most {LIMIT} bytes")
    assert proxy.peak() - before < 2 * LIMIT + SPARE
    assert proxy.innocent().status_code == 200


def test_messages_that_are_on_their_way_are_bounded_together(victim: Callable[..., Victim]) -> None:
    proxy = victim(**PATIENT)
    before = proxy.resident()
    with ExitStack() as stack:
        opened = [stack.enter_context(websocket(proxy)) for _ in range(12)]
        for one in opened:
            one.sendall(frame(TEXT, LIMIT - 1, last=False))
            flood(one, b"a" * (LIMIT - 1), LIMIT - 1)
        assert proxy.innocent().status_code == 200
        # Two fit. Which ones is open, since all of them grow at once.
        holding = list(opened)
        codes = set()
        while len(holding) > 2:
            told, _, _ = select.select(holding, [], [], GUARD_S)
            assert told, f"{len(holding)} messages are held"
            codes |= {closed_with(one)[0] for one in told}
            holding = [one for one in holding if one not in told]
        # Where a client still sends when its connection is closed, a reset may overtake the close frame (0).
        assert 1013 in codes and codes <= {0, 1013}
    # Less than was sent, which is twelve times the limit. What is read and not yet refused takes memory too.
    assert proxy.peak() - before < 10 * LIMIT


@pytest.mark.parametrize("size", [0, 1], ids=["empty fragments", "fragments of a byte"])
def test_many_fragments_take_no_more_than_their_bytes(size: int, victim: Callable[..., Victim]) -> None:
    proxy = victim(**PATIENT)
    before = proxy.resident()
    with websocket(proxy) as opened:
        opened.sendall(frame(TEXT, 1, last=False) + b"a")
        few = (frame(CONTINUATION, size, last=False) + b"a" * size) * 10_000
        flood(opened, few, 30 * len(few))
        opened.sendall(frame(PING, 0))  # the answer to a ping comes when all has been read
        opened.settimeout(60)
        assert opened.recv(1) == b"\x8a"
    assert proxy.peak() - before < SPARE


@pytest.mark.parametrize("dripping", [b"", b"a"], ids=["silent", "a byte at a time"])
def test_a_message_that_does_not_end_in_time_closes_the_websocket(
    dripping: bytes, victim: Callable[..., Victim]
) -> None:
    proxy = victim(**SLOW)
    with websocket(proxy) as opened:
        opened.sendall(frame(TEXT, 1000) + b"a" * 100)
        while dripping and not select.select([opened], [], [], 0.1)[0]:
            opened.sendall(dripping)
        assert closed_with(opened) == (1008, "the message did not arrive in time")
    assert proxy.innocent().status_code == 200


def test_empty_fragments_do_not_keep_a_message_alive(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SLOW)
    with websocket(proxy) as opened:
        opened.sendall(frame(TEXT, 1, last=False) + b"a")
        while not select.select([opened], [], [], 0.1)[0]:
            opened.sendall(frame(CONTINUATION, 0, last=False))
        assert closed_with(opened)[0] == 1008


def test_between_messages_a_websocket_may_be_silent(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SLOW)
    url = f"ws://127.0.0.1:{proxy.door[1]}/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {proxy.key}"}, proxy=None) as client:
        for _ in range(2):
            client.send(iter(['{"type": ', '"nothing"}']))
            assert json.loads(client.recv(timeout=30))["error"]["param"] == "type"
            with pytest.raises(TimeoutError):
                client.recv(timeout=2.5)


def test_an_ordinary_client_is_told_why(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    url = f"ws://127.0.0.1:{proxy.door[1]}/v1/responses"
    headers = {"authorization": f"Bearer {proxy.key}", "host": HOST}
    with connect(url, additional_headers=headers, proxy=None, max_size=None) as client:
        client.send(json.dumps({"type": "nothing", "input": "a" * (LIMIT - 1000)}))  # as large as may be
        assert json.loads(client.recv(timeout=30))["error"]["param"] == "type"
        with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - which of the two is told does not matter
            client.send("a" * (2 * LIMIT))
            client.recv(timeout=30)
    received = caught.value.rcvd
    assert received is not None
    assert (received.code, received.reason) == (1009, f"a message has at most {LIMIT} bytes")


def test_compression_is_not_agreed_on_since_a_message_may_unpack_to_any_size(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    url = f"ws://127.0.0.1:{proxy.door[1]}/v1/responses"
    headers = {"authorization": f"Bearer {proxy.key}"}
    with connect(url, additional_headers=headers, proxy=None, compression="deflate") as client:
        assert client.protocol.extensions == []
