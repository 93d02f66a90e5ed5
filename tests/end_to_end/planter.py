"""A server that repeats another server's answers, but for one that a test has changed."""

import base64
import hashlib
import http.server
import json
import threading
from typing import Any, Self

from conform.exchange import Exchange
from conform.plan import Ask

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What RFC 6455 has a server add to the key of a handshake."""


class Planter:
    """The server, on a thread of its own. ``answers`` has an exchange for the name of each request of the plan."""

    def __init__(self, asks: list[Ask], answers: dict[str, Exchange]) -> None:
        self._names = {_key(ask.method, ask.path, ask.body, ask.key): ask.name for ask in asks}
        self.answers = answers
        planter = self

        class Handler(_Handler):
            def answer(self, body: Any) -> Exchange:
                return planter.answer(self.command, self.path, body, self.headers["authorization"])

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="the planter")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, method: str, path: str, body: Any, authorization: str) -> Exchange:
        """Return the answer to a request of the plan."""
        path, key = path.removeprefix("/v1"), authorization.removeprefix("Bearer ")
        name = self._names.get(_key(method, path, body, key)) or self._names[_key(method, path, body, None)]
        return self.answers[name]


def _key(method: str, path: str, body: Any, key: str | None) -> str:
    return json.dumps([method, path, body, key])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body: Any) -> Exchange:
        raise NotImplementedError

    def do_GET(self) -> None:
        if self.headers.get("upgrade", "").lower() == "websocket":
            self._websocket()
        else:
            self._send(self.answer(None))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        self._send(self.answer(body))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, exchange: Exchange) -> None:
        data = exchange.text.encode()
        self.send_response(exchange.status)
        for name, value in exchange.headers.items():
            if name not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _websocket(self) -> None:
        """Answer the first message with those of the exchange. All are sent as they are, in one frame each."""
        accept = base64.b64encode(hashlib.sha1(f"{self.headers['sec-websocket-key']}{GUID}".encode()).digest())
        self.send_response(101)
        for name, value in (
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", accept.decode()),
        ):
            self.send_header(name, value)
        self.end_headers()
        body = json.loads(self._frame())
        assert body.pop("type") == "response.create"
        for message in self.answer(body).messages or ():
            data = message.encode()
            self.wfile.write(b"\x81" + _length(len(data)) + data)
        self.wfile.write(b"\x88\x02" + (1000).to_bytes(2))
        self.close_connection = True

    def _frame(self) -> bytes:
        """Read a text frame of a client, which is masked."""
        _, size = self.rfile.read(2)
        length = size & 0x7F
        if length >= 126:
            length = int.from_bytes(self.rfile.read(2 if length == 126 else 8))
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(length)))


def _length(size: int) -> bytes:
    """Return the length of a frame, in the shortest form that RFC 6455 has for it."""
    if size < 126:
        return bytes([size])
    return b"\x7e" + size.to_bytes(2) if size < 65536 else b"\x7f" + size.to_bytes(8)
