"""A WebSocket client for one request of the Responses API: connect, send, read until the response has ended."""

import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, RejectData, Request, TextMessage

from conform.response_stream import ENDS


class WebSocketError(Exception):
    """The server does not answer as a WebSocket server does. The message says how."""


class RefusedError(WebSocketError):
    """The server does not open a WebSocket."""


def ask_by_websocket(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], *, timeout_s: float, max_bytes: int
) -> list[str]:
    """Send ``response.create`` and return the messages up to the end of the response.

    Raises WebSocketError and OSError.
    """
    deadline = time.monotonic() + timeout_s
    with _Connection(url, deadline) as connection:
        connection.open(headers)
        connection.send(json.dumps({"type": "response.create", **body}))
        messages: list[str] = []
        size = 0
        while not messages or not _is_last(messages[-1]):
            message = connection.receive()
            size += len(message)
            if size > max_bytes:
                raise WebSocketError(f"more than {max_bytes} bytes came")
            messages.append(message)
    return messages


def _is_last(message: str) -> bool:
    try:
        value = json.loads(message)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("type") in (*ENDS, "error")


class _Connection:
    """A WebSocket. After the deadline each of its methods raises TimeoutError."""

    def __init__(self, url: str, deadline: float) -> None:
        self._deadline = deadline
        parts = urlsplit(url)
        self._host = parts.netloc.rpartition("@")[2]
        self._target = parts.path + (f"?{parts.query}" if parts.query else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        plain = socket.create_connection((parts.hostname or "", port), timeout=self._left())
        self._socket = plain
        if parts.scheme == "https":
            self._socket = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Any] = []

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, headers: Mapping[str, str]) -> None:
        """Make the connection a WebSocket. Raises RefusedError and WebSocketError."""
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._send(Request(host=self._host, target=self._target, extra_headers=extra))
        event = self._next()
        if isinstance(event, RejectConnection):
            raise RefusedError(f"status {event.status_code} came")
        if not isinstance(event, AcceptConnection):
            raise WebSocketError("the connection was closed")

    def send(self, text: str) -> None:
        """Send a message."""
        self._send(TextMessage(data=text))

    def receive(self) -> str:
        """Return the next message. Raises WebSocketError at the end of the connection."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return text
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, CloseConnection):
                raise WebSocketError(f"the server closed with {int(event.code)} before the end of the response")

    def _send(self, event: Any) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(self._protocol.send(event))

    def _next(self) -> Any:
        while not self._events:
            self._socket.settimeout(self._left())
            data = self._socket.recv(65536)
            if not data:
                raise WebSocketError("the connection ended before the end of the response")
            self._protocol.receive_data(data)
            self._events = [event for event in self._protocol.events() if not isinstance(event, RejectData)]
        return self._events.pop(0)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
