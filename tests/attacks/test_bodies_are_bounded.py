"""What a client sends is judged at its head, and takes a bounded place while it comes."""

import json
import select
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx
import pytest

from tests.attacks.victim import HOST, MIB, PATH, Victim, answer_on, chunk, flood, status_of
from tests.end_to_end.cloud import GUARD_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")

LIMIT = 4 * MIB
SENT = 64 * MIB
SPARE = 12 * MIB
"""What the proxy may grow by besides, in its allocator and in what it imports late."""

SMALL = {"max_body_bytes": LIMIT, "max_bodies_mb": 8, "request_timeout_s": 5}
SLOW = SMALL | {"request_timeout_s": 1.5, "min_upload_bytes_per_s": 50}
PIECE = b"a" * MIB


@pytest.mark.parametrize("framing", ["content-length", "chunks"])
def test_without_a_key_no_body_is_read(framing: str, victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with proxy.open() as stranger:
        if framing == "chunks":
            stranger.sendall(proxy.head("Transfer-Encoding: chunked", key=False))
            flood(stranger, chunk(PIECE), SENT)
        else:
            stranger.sendall(proxy.head(f"Content-Length: {SENT}", key=False))
            flood(stranger, PIECE, SENT)
        answer = answer_on(stranger)
    assert (status_of(answer), json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]) == (
        401,
        "invalid_api_key",
    )
    assert proxy.peak() - before < SPARE
    assert proxy.innocent().status_code == 200


def test_three_strangers_at_once_take_no_memory(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with ExitStack() as stack:
        strangers = [stack.enter_context(proxy.open()) for _ in range(3)]
        for stranger in strangers:
            stranger.sendall(proxy.head("Transfer-Encoding: chunked", key=False))
        for stranger in strangers:
            flood(stranger, chunk(PIECE), SENT)
        assert proxy.peak() - before < SPARE
        assert [status_of(answer_on(stranger)) for stranger in strangers] == [401] * 3


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ((f"Content-Length: {SENT}",), PATH, 413),
        (("Transfer-Encoding: chunked",), PATH, 413),
        ((f"Content-Length: {LIMIT}",), "/v1/nothing", 404),
        ((f"Content-Length: {LIMIT}", "Expect: 100-continue"), "/v1/nothing", 404),
    ],
    ids=["a length that is too much", "chunks that come to too much", "no such path", "no such path, politely"],
)
def test_with_a_key_a_body_that_is_not_wanted_is_not_kept(
    headers: tuple[str, ...], path: str, status: int, victim: Callable[..., Victim]
) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with proxy.open() as client:
        client.sendall(proxy.head(*headers, path=path))
        flood(client, chunk(PIECE) if "Transfer-Encoding: chunked" in headers else PIECE, SENT)
        answer = answer_on(client)
    assert status_of(answer) == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert proxy.peak() - before < LIMIT + SPARE


@pytest.mark.parametrize(("key", "status"), [(False, "401"), (True, "413")])
def test_a_stream_of_http_2_is_reset_and_the_connection_goes_on(
    key: bool, status: str, victim: Callable[..., Victim]
) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with proxy.secure("h2") as secure:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        login = [("authorization", f"Bearer {proxy.key}")] if key else []
        head = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", PATH), *login]
        connection.send_headers(1, head)
        seen = h2_flood(connection, secure, 1, SENT)
        told = [event for event in seen if isinstance(event, h2.events.ResponseReceived)]
        reset = [event.error_code for event in seen if isinstance(event, h2.events.StreamReset)]
        connection.send_headers(3, [(":method", "GET"), *head[1:3], (":path", "/health")], end_stream=True)
        secure.sendall(connection.data_to_send())
        health = h2_read(connection, secure, lambda event: isinstance(event, h2.events.ResponseReceived))
    assert h2_status(told[0]) == status
    assert reset == [h2.errors.ErrorCodes.NO_ERROR]
    assert h2_status(health) == "200"
    assert proxy.peak() - before < LIMIT + SPARE


def test_all_bodies_together_are_bounded_and_an_innocent_one_finds_its_place(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with ExitStack() as stack:
        hostile = [stack.enter_context(proxy.open()) for _ in range(24)]
        for connection in hostile:
            connection.sendall(proxy.head(f"Content-Length: {LIMIT}"))
            flood(connection, b"a" * (LIMIT - 1), LIMIT - 1)
        assert proxy.innocent().status_code == 200
        told = [status_of(answer_on(connection)) for connection in hostile]
    # Two have found room, or some more with a part of theirs, until they were too slow. The others were told at once.
    assert set(told) == {408, 503}
    assert told.count(503) > 16
    assert proxy.peak() - before < 8 * MIB + LIMIT + SPARE


def test_the_bodies_of_one_key_leave_room_for_those_of_another(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL | {"request_timeout_s": 60})
    other = proxy.run("keys", "make", "bob")
    with ExitStack() as stack:
        held = [stack.enter_context(proxy.open()) for _ in range(4)]
        for connection in held:
            connection.sendall(proxy.head(f"Content-Length: {LIMIT}"))
            flood(connection, b"a" * (LIMIT - 1), LIMIT - 1)
        # One has found room, two would take all.
        assert len([one for one in held if not select.select([one], [], [], 10)[0]]) == 1
        large = json.dumps({"metadata": {"who": "bob"}}).encode() + b" " * MIB
        headers = {"authorization": f"Bearer {other}", "content-type": "application/json"}
        url = f"http://127.0.0.1:{proxy.door[1]}/v1/conversations"
        assert httpx.post(url, content=large, headers=headers, timeout=GUARD_S).status_code == 200


@pytest.mark.parametrize("trickle", [False, True], ids=["silence", "a byte now and then"])
def test_a_body_that_comes_too_slowly_loses_its_place(trickle: bool, victim: Callable[..., Victim]) -> None:
    proxy = victim(**SLOW)
    with proxy.open() as client:
        client.sendall(proxy.head("Content-Length: 1000"))
        for _ in range(600):
            if trickle:
                client.sendall(b"a")
            if select.select([client], [], [], 0.1)[0]:
                break
        answer = answer_on(client)
    assert (status_of(answer), b'"code":"timeout"' in answer) == (408, True)
    assert proxy.innocent().status_code == 200


def test_a_body_that_is_fast_enough_may_take_longer(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SLOW)
    body = json.dumps({"metadata": {"who": "slow"}}).encode() + b" " * 1000
    with proxy.open() as client:
        client.sendall(proxy.head(f"Content-Length: {len(body)}", path="/v1/conversations"))
        for place in range(0, 600, 100):
            client.sendall(body[place : place + 100])
            assert not select.select([client], [], [], 0.3)[0]
        client.sendall(body[600:])
        assert status_of(answer_on(client)) == 200


def test_a_head_without_end_is_refused(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    before = proxy.resident()
    with proxy.open() as client:
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: ")
        flood(client, PIECE, SENT)
        answer = answer_on(client)
    assert status_of(answer) in (431, 0)  # a reset may have taken the answer with it
    assert proxy.peak() - before < SPARE


def test_a_client_that_sends_more_before_the_answer_is_cut_off(victim: Callable[..., Victim]) -> None:
    proxy = victim(rehearsal_delay_s=5)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    before = proxy.resident()
    with proxy.open() as client:
        client.sendall(proxy.head(f"Content-Length: {len(body)}") + body)
        assert flood(client, PIECE, SENT) < SENT
    assert proxy.peak() - before < SPARE
    assert proxy.innocent().status_code == 200


def test_trailers_of_a_request_are_dropped_and_the_request_is_answered(victim: Callable[..., Victim]) -> None:
    proxy = victim(**SMALL)
    body = json.dumps({"metadata": {}}).encode()
    with proxy.open() as client:
        for _ in range(2):  # the connection goes on
            client.sendall(proxy.head("Transfer-Encoding: chunked", "Trailer: X-Sum", path="/v1/conversations"))
            client.sendall(chunk(body) + b"0\r\nX-Sum: 1\r\n\r\n")
            assert status_of(answer_on(client)) == 200


def h2_flood(
    connection: h2.connection.H2Connection, secure: socket.socket, stream: int, most: int
) -> list[h2.events.Event]:
    """Send a body without end on a stream until it is reset; return what came meanwhile."""
    seen: list[h2.events.Event] = []
    sent = 0
    secure.sendall(connection.data_to_send())
    while not any(isinstance(event, h2.events.StreamReset) for event in seen):
        secure.settimeout(0.001 if sent < most else 30)
        try:
            seen += connection.receive_data(secure.recv(65536))
        except TimeoutError:
            assert sent < most, "the stream was not reset"
        size = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size, most - sent)
        if size > 0 and not any(isinstance(event, h2.events.StreamReset) for event in seen):
            connection.send_data(stream, b"a" * size)
            sent += size
        secure.settimeout(30)
        secure.sendall(connection.data_to_send())
    return seen


def h2_status(event: h2.events.ResponseReceived) -> str:
    """Return the status of an answer."""
    return {str(name): str(value) for name, value in event.headers or ()}[":status"]


def h2_read(
    connection: h2.connection.H2Connection, secure: socket.socket, wanted: Callable[[h2.events.Event], bool]
) -> h2.events.ResponseReceived:
    """Read until an event comes."""
    secure.settimeout(30)
    while True:
        for event in connection.receive_data(secure.recv(65536)):
            if wanted(event):
                assert isinstance(event, h2.events.ResponseReceived)
                return event
        secure.sendall(connection.data_to_send())
