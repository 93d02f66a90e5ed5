"""TLS through the proxy by hand: what a client is shown, and many streams on one HTTP/2 connection."""

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Self

import h2.config
import h2.connection
import h2.events

from tests.end_to_end.cloud import GUARD_S


@contextlib.contextmanager
def connect(proxy: tuple[str, int], host: str, port: int, tls: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Ask the proxy for a tunnel to a host and speak TLS through it."""
    with socket.create_connection(proxy, timeout=GUARD_S) as raw:
        raw.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += raw.recv(1)
        assert answer.split()[1] == b"200", answer
        with tls.wrap_socket(raw, server_hostname=host) as secure:
            yield secure


def certificate(proxy: tuple[str, int], host: str, port: int = 443) -> bytes:
    """Return the certificate (DER) that a client is shown, trusted or not."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with connect(proxy, host, port, tls) as secure:
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return shown


class Http2:
    """One HTTP/2 connection on a socket whose TLS has agreed on h2."""

    def __init__(self, secure: ssl.SSLSocket) -> None:
        assert secure.selected_alpn_protocol() == "h2"
        self._socket = secure
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def __enter__(self) -> Self:
        self._connection.initiate_connection()
        self._flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close_connection()
        self._flush()

    def post(self, host: str, path: str, body: Any) -> int:
        """Send a request and return its stream's number."""
        stream = self._connection.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", host), (":path", path)]
        self._connection.send_headers(stream, [*headers, ("content-type", "application/json")])
        self._connection.send_data(stream, json.dumps(body).encode(), end_stream=True)
        self.bodies[stream] = b""
        self._flush()
        return stream

    def read_until(self, condition: Callable[[], bool]) -> None:
        """Read until something is so."""
        while not condition():
            data = self._socket.recv(65536)
            assert data, "the connection was closed"
            for event in self._connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                    self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.ended.add(event.stream_id)
            self._flush()

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._socket.sendall(data)
