"""Record the requests and responses on WebSockets.

A cassette has requests and responses. Each ``response.create`` is recorded as the equivalent POST request. Its response
is recorded as the event stream that a POST would get. So it can be shown, compared and replayed like any other entry,
for apps with and without a WebSocket.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from addons.ending import ending_of_socket
from addons.record import OURS, Record, Taken, is_handshake, pairs
from addons.redirect_to_origin import REAL_ADDRESS
from api.endpoints.response_socket import OF_THE_CONNECTION
from engine.observers import FLOW_HEADER, Observers, SocketMessage
from translate.sse import EncodedEvent, stream_bytes

NOT_OF_A_POST = frozenset({*OF_THE_CONNECTION, *OURS, "host", "content-type"})

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

MOST_MESSAGES = 1000
MOST_BYTES = 4 * 1024 * 1024
"""How many messages, and how many bytes of them, each flow keeps for display. mitmproxy itself keeps all messages."""


@dataclass(slots=True)
class _Asked:
    """One request in progress: the id of its observer, its entry, and whether its response has begun."""

    flow: str
    taken: Taken
    begun: bool = False


@dataclass(slots=True)
class _Socket:
    """One WebSocket. ``count`` is the number of the app's messages. ``asked`` are open requests by message number."""

    headers: list[tuple[str, str]]
    path: str
    count: int = 0
    asked: dict[int, _Asked] = field(default_factory=dict)


class RecordSockets:
    """Record the messages of WebSockets to the origin."""

    def __init__(self, record: Record, observers: Observers) -> None:
        self._record = record
        self._witnesses = observers
        self._sockets: dict[str, _Socket] = {}
        self._kept: dict[str, int] = {}
        """The bytes of messages that each flow keeps, by the flow's id."""

    def request(self, flow: http.HTTPFlow) -> None:
        """Add the flow's id to a handshake for the origin."""
        if REAL_ADDRESS in flow.metadata and is_handshake(flow):
            flow.request.headers[FLOW_HEADER] = flow.id
            self._witnesses.follow(flow.id)

    def error(self, flow: http.HTTPFlow) -> None:
        """Stop observing a failed handshake."""
        if flow.websocket is None:
            self._witnesses.leave(flow.id)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Start recording a WebSocket if its handshake has succeeded."""
        if flow.response is None or flow.response.status_code != 101 or REAL_ADDRESS not in flow.metadata:
            self._witnesses.leave(flow.id)
            return
        host = flow.metadata[REAL_ADDRESS][3] or flow.metadata[REAL_ADDRESS][1]
        headers = [("host", host), ("content-type", "application/json")]
        for name, value in pairs(flow.request):
            if name.lower() not in NOT_OF_A_POST and not name.lower().startswith(("sec-websocket-", "x-understudy-")):
                headers.append((name, value))
        self._sockets[flow.id] = _Socket(headers, flow.request.path)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Record a message."""
        assert flow.websocket is not None  # noqa: S101 - mitmproxy calls this hook only for WebSockets
        message = flow.websocket.messages[-1]
        socket = self._sockets.get(flow.id)
        if socket is not None and message.from_client:
            self._ask(flow.id, socket, message.content)
        elif socket is not None:
            # Ask the observers which request a message answers. Its order and stream id are not enough: an error may
            # arrive before the responses to earlier requests.
            self._answer(socket, self._witnesses.said(flow.id), message.content)
        self._forget_old(flow.id, flow.websocket.messages)

    def _forget_old(self, flow_id: str, messages: list[WebSocketMessage]) -> None:
        """Drop the oldest messages beyond the limits. Keep the last one, since it has not been passed on yet."""
        kept = self._kept.get(flow_id, 0) + len(messages[-1].content)
        while len(messages) > 1 and (len(messages) > MOST_MESSAGES or kept > MOST_BYTES):
            kept -= len(messages.pop(0).content)
        self._kept[flow_id] = kept

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """End the entries of requests whose responses are incomplete."""
        self._kept.pop(flow.id, None)
        socket = self._sockets.pop(flow.id, None)
        self._witnesses.leave(flow.id)
        ending = ending_of_socket(flow)
        for asked in socket.asked.values() if socket else ():
            self._end(asked, ending.outcome, error=None if ending.outcome == "cut_by_app" else ending.reason)

    def _ask(self, flow_id: str, socket: _Socket, content: bytes) -> None:
        number, socket.count = socket.count, socket.count + 1
        key = f"{flow_id}/{number}"
        fields = _object(content)
        if fields.pop("type", None) != "response.create" or fields.pop("generate", None) is False:
            return
        fields.pop("stream_id", None)
        body = json.dumps({**fields, "stream": True}, ensure_ascii=False).encode()
        taken = self._record.begin("POST", socket.path, socket.headers, body)
        if taken is None:
            return
        self._witnesses.add(key, taken)
        socket.asked[number] = _Asked(key, taken)

    def _answer(self, socket: _Socket, message: SocketMessage | None, content: bytes) -> None:
        asked = None if message is None else socket.asked.get(message.number)
        if message is None or asked is None:
            return
        end = message.suffix + b"}"
        data = content.removesuffix(end) + b"}" if content.endswith(end) else content
        if message.event == "error" and not asked.begun:
            error = _object(data)
            asked.taken.respond(int(error.get("status") or 500), [("content-type", "application/json")])
            asked.taken.chunk(json.dumps({"error": error.get("error")}, ensure_ascii=False).encode())
        else:
            if not asked.begun:
                asked.taken.respond(200, [("content-type", "text/event-stream")])
            asked.taken.chunk(stream_bytes([EncodedEvent(data, message.event)]))
        asked.begun = True
        if message.event in ENDS or message.event == "error":
            del socket.asked[message.number]
            self._end(asked, "done")

    def _end(self, asked: _Asked, how: str, *, error: str | None = None) -> None:
        self._witnesses.forget(asked.flow)
        self._record.finish(asked.taken, how, error=error)


def _object(content: bytes) -> dict[str, Any]:
    """Return the JSON object of a message, {} for anything else."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
