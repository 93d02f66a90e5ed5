"""A page in a browser can neither read the proxy's state nor start a recording."""

import socket
from pathlib import Path

import httpx

from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve

RECORD = "http://understudy.local/understudy/record"


def status_of(proxy: Proxy, **headers: str) -> int:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(proxy=proxy.url, timeout=GUARD_S, headers=told) as client:
        return client.post(RECORD, headers={"x-understudy-record": "start"}).status_code


def raw(proxy: Proxy, request: bytes) -> bytes:
    """Ask the proxy's own port as a page asks it under a name that points here."""
    with socket.create_connection((proxy.host, proxy.port), timeout=GUARD_S) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def test_no_page_starts_a_recording(cloud: Cloud, home: Path) -> None:
    with serve(clean_environment(home, cloud.base_url)) as proxy:
        by_origin = status_of(proxy, origin="https://evil.example")
        by_fetch = status_of(proxy, sec_fetch_site="cross-site", sec_fetch_mode="no-cors")
        rebound = raw(
            proxy,
            b"POST /understudy/record HTTP/1.1\r\nhost: understudy.local:%d\r\nx-understudy-record: start\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n" % proxy.port,
        )
        state = httpx.get("http://understudy.local/", proxy=proxy.url, timeout=GUARD_S).json()

    assert (by_origin, by_fetch) == (403, 403)
    assert rebound.split(b"\r\n")[0].endswith(b"403 Forbidden")
    assert state["recording"] is None
