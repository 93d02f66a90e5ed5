"""A request for the proxy's own address is refused once, and does not come in again and again."""

import base64
import json
import socket
from collections.abc import Callable

import pytest

from tests.attacks.victim import Victim, answer_on, status_of

# What the system resolves to this machine, though it is none of its usual names.
SPELLINGS = ["127.1", "2130706433", "0x7f000001", "0", "[::ffff:127.0.0.1]"]


def resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host.strip("[]"), 80))
    except OSError:
        return False


def error_in(answer: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("door", ["proxy", "base URL"])
def test_a_plain_request_for_itself_is_refused(host: str, door: str, victim: Callable[..., Victim]) -> None:
    if not resolves(host):
        pytest.skip(f"this system does not know {host}")
    proxy = victim(keys=False)
    at = (proxy.proxy.host, proxy.proxy.port)
    port = at[1] if door == "proxy" else proxy.door[1]
    with proxy.open(at) as connection:
        connection.sendall(f"GET http://{host}:{port}/v1/models HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = answer_on(connection)

    # Of some spellings mitmproxy knows that they are its own: they are told what this address is for.
    assert (status_of(answer), error_in(answer)["code"]) == (421, "misdirected_request")


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_tunnel_leads_back(host: str, victim: Callable[..., Victim]) -> None:
    if not resolves(host):
        pytest.skip(f"this system does not know {host}")
    proxy = victim(keys=False)
    at = (proxy.proxy.host, proxy.proxy.port)
    with proxy.open(at) as connection:
        connection.sendall(f"CONNECT {host}:{at[1]} HTTP/1.1\r\nHost: {host}:{at[1]}\r\n\r\n".encode())
        answer = answer_on(connection)

    assert (status_of(answer), error_in(answer)["code"]) == (421, "misdirected_request")


def test_a_host_that_tunnel_names_is_no_way_back_either(victim: Callable[..., Victim]) -> None:
    proxy = victim(tunnel="127.1")
    at = (proxy.proxy.host, proxy.proxy.port)
    login = "Proxy-Authorization: Basic " + base64.b64encode(f"me:{proxy.key}".encode()).decode()
    with proxy.open(at) as connection:
        request = f"GET http://127.1:{at[1]}/v1/models HTTP/1.1\r\nHost: 127.1:{at[1]}\r\n{login}\r\n\r\n"
        connection.sendall(request.encode())
        assert status_of(answer_on(connection)) == 421


def test_socks_leads_back_no_more(victim: Callable[..., Victim]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        door = free.getsockname()
    proxy = victim(keys=False, mode=f"socks5@127.0.0.1:{door[1]}")
    name = b"127.1"
    with proxy.open(door) as connection:
        connection.sendall(b"\x05\x01\x00")
        assert connection.recv(2) == b"\x05\x00"
        connection.sendall(b"\x05\x01\x00\x03%c%s" % (len(name), name) + proxy.proxy.port.to_bytes(2, "big"))
        connection.recv(10)
        connection.sendall(b"\x00\x01 not HTTP")
        assert answer_on(connection) == b""
    assert proxy.innocent().status_code == 200
