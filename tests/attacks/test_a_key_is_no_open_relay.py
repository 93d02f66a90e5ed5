"""A key leads to the hosts that the proxy stands in for, and to public addresses; to no neighbour of the proxy's."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.attacks.victim import Victim, answer_on, head_on, status_of
from tests.end_to_end.cloud import GUARD_S

SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "0",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "127.0.0.1.",
    "localhost.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "168.63.129.16",
    "224.0.0.1",
]


@contextmanager
def neighbour() -> Iterator[tuple[int, list[bytes]]]:
    """A server of the proxy's machine, which sends back what it gets; yields its port, and what it got."""
    got: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    got.append(data)
                    if data.startswith(b"GET "):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                    else:
                        connection.sendall(data)
            except OSError:
                pass

    thread = threading.Thread(target=serve, name="a neighbour")
    thread.start()
    try:
        yield listener.getsockname()[1], got
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(GUARD_S)


def login(proxy: Victim) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"me:{proxy.key}".encode()).decode()


def connect(proxy: Victim, host: str, port: int) -> tuple[socket.socket, bytes]:
    """Ask for a tunnel; return the connection and the answer."""
    connection = proxy.open((proxy.proxy.host, proxy.proxy.port))
    connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login(proxy)}\r\n\r\n".encode())
    head = head_on(connection)
    # What follows a 200 is the tunnel.
    return connection, head if status_of(head) == 200 else answer_on(connection, head)


def error_in(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"])


def test_no_tunnel_leads_to_an_address_that_is_not_public(victim: Callable[..., Victim]) -> None:
    proxy = victim()
    with neighbour() as (port, got):
        statuses = {}
        for host in SPELLINGS:
            connection, answer = connect(proxy, host, port)
            statuses[host] = status_of(answer)
            connection.close()
    # 502: this system knows no such address at all; 400: it cannot be one.
    assert {host: status for host, status in statuses.items() if status not in (400, 403, 502)} == {}
    assert statuses["127.0.0.1"] == statuses["localhost"] == statuses["[::ffff:127.0.0.1]"] == 403
    assert got == []


def test_no_plain_request_leads_there_either(victim: Callable[..., Victim]) -> None:
    proxy = victim()
    with neighbour() as (port, got):
        statuses = {}
        for host in SPELLINGS:
            with proxy.open((proxy.proxy.host, proxy.proxy.port)) as connection:
                request = f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n{login(proxy)}\r\n\r\n"
                connection.sendall(request.encode())
                answer = answer_on(connection)
            statuses[host] = status_of(answer)
        with proxy.open((proxy.proxy.host, proxy.proxy.port)) as connection:
            # Another host in the header than in the target.
            request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: api.openai.com\r\n{login(proxy)}\r\n\r\n"
            connection.sendall(request.encode())
            answer_on(connection)
    assert {host: status for host, status in statuses.items() if status not in (400, 403, 502)} == {}
    assert statuses["127.0.0.1"] == 403
    assert got == []


def test_socks_leads_there_no_more_than_connect(victim: Callable[..., Victim]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        door = free.getsockname()
    proxy = victim(mode=f"socks5@127.0.0.1:{door[1]}")
    with neighbour() as (port, got), proxy.open(door) as connection:
        name, key = b"me", proxy.key.encode()
        connection.sendall(b"\x05\x01\x02")
        assert connection.recv(2) == b"\x05\x02"
        connection.sendall(b"\x01%c%s%c%s" % (len(name), name, len(key), key))
        assert connection.recv(2) == b"\x01\x00"
        connection.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
        connection.recv(10)
        connection.sendall(b"\x00\x01\x02 not HTTP")
        assert answer_on(connection) == b""
    assert got == []


def test_the_refusal_says_how_it_can_be_allowed(victim: Callable[..., Victim]) -> None:
    connection, answer = connect(victim(), "127.0.0.1", 1)
    connection.close()
    assert error_in(answer) == (
        "This key leads to public addresses only, and '127.0.0.1' has another one. The operator of this proxy can allow"
        " it: tunnel."
    )


def test_a_host_that_is_named_may_be_a_neighbour_and_no_other_is_reached(victim: Callable[..., Victim]) -> None:
    proxy = victim(tunnel="localhost", key_check_s=0.2)
    with neighbour() as (port, _):
        connection, answer = connect(proxy, "localhost", port)
        assert status_of(answer) == 200
        with connection:
            connection.sendall(b"\x00\x01 hello")
            assert connection.recv(100) == b"\x00\x01 hello"
        other, answer = connect(proxy, "127.0.0.1", port)
        other.close()
        public, answer_to_public = connect(proxy, "8.8.8.8", 53)
        public.close()
    assert status_of(answer) == status_of(answer_to_public) == 403
    assert "does not lead to" in error_in(answer_to_public)


def test_a_revoked_key_loses_its_tunnels_and_no_other_key_does(victim: Callable[..., Victim]) -> None:
    proxy = victim(tunnel="localhost", key_check_s=0.2)
    mine = proxy.key
    with neighbour() as (port, _):
        kept, _ = connect(proxy, "localhost", port)
        proxy.key = proxy.run("keys", "make", "bob")
        lost, answer = connect(proxy, "localhost", port)
        proxy.key = mine
        with kept, lost:
            assert status_of(answer) == 200
            lost.sendall(b"\x00 before")
            assert lost.recv(100) == b"\x00 before"
            proxy.run("keys", "revoke", "bob")
            assert answer_on(lost) == b""  # it ends
            kept.sendall(b"\x00 after")
            assert kept.recv(100) == b"\x00 after"


def test_intercepted_hosts_need_no_permission(victim: Callable[..., Victim]) -> None:
    proxy = victim(tunnel="localhost", key_check_s=0.2)
    connection, answer = connect(proxy, "api.openai.com", 443)
    with connection, proxy.proxy.tls().wrap_socket(connection, server_hostname="api.openai.com") as secure:
        secure.sendall(b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
        assert (status_of(answer), status_of(answer_on(secure))) == (200, 200)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_without_keys_local_programs_may_reach_any_host(host: str, victim: Callable[..., Victim]) -> None:
    proxy = victim(keys=False)
    with neighbour() as (port, _), proxy.open((proxy.proxy.host, proxy.proxy.port)) as connection:
        connection.sendall(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert status_of(answer_on(connection)) == 200
