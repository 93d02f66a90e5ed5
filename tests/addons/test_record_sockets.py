"""What passes over a WebSocket is recorded as a POST stream would be. The rest: end_to_end/test_websocket.py."""

from pathlib import Path

import pytest
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.record import Record
from addons.record_sockets import RecordSockets
from addons.redirect_to_origin import REAL_ADDRESS
from cassettes.format import Entry
from cassettes.read import read
from engine.observers import Observers, SocketMessage
from settings import Settings
from tests.translate.counting import counted

pytestmark = pytest.mark.anyio

CREATE = b'{"type": "response.create", "stream_id": "a", "model": "gpt-4o", "input": "Hi"}'
DELTA = b'{"type":"response.output_text.delta","delta":"\xc3\xa9"}'
DONE = b'{"type":"response.completed","response":{}}'
SUFFIX = b',"stream_id":"a"'


class Socket:
    """A WebSocket that passes through the proxy: each message reaches the addon as mitmproxy hands it over."""

    def __init__(self, cassette: Path) -> None:
        self.observers = Observers()
        self.record = Record(Settings(record=cassette), self.observers)
        self.record.running()
        self.addon = RecordSockets(self.record, self.observers)
        self.flow = tflow.twebsocketflow()
        self.flow.metadata[REAL_ADDRESS] = ("api.openai.com", 443, "https", "api.openai.com")
        self.flow.request.path = "/v1/responses"
        assert self.flow.websocket is not None
        self.flow.websocket.messages.clear()
        assert self.flow.response is not None
        self.flow.response.status_code = 101
        self.addon.request(self.flow)
        self.addon.responseheaders(self.flow)

    def message(self, content: bytes, *, from_app: bool = False) -> None:
        assert self.flow.websocket is not None
        self.flow.websocket.messages.append(WebSocketMessage(Opcode.TEXT, from_app, content))
        self.addon.websocket_message(self.flow)

    def event(self, kind: str, data: bytes, suffix: bytes = SUFFIX) -> None:
        self.observers.say(self.flow.id, SocketMessage(0, kind, suffix))
        self.message(data[:-1] + suffix + b"}")


@pytest.mark.parametrize("suffix", [b"", SUFFIX])
async def test_an_answer_is_recorded_byte_for_byte_without_its_stream_id(tmp_path: Path, suffix: bytes) -> None:
    socket = Socket(tmp_path / "a.jsonl")
    socket.message(CREATE, from_app=True)
    with counted() as counts:
        socket.event("response.output_text.delta", DELTA, suffix)
    socket.event("response.completed", DONE, suffix)
    await socket.record.settle()
    socket.record.done()

    (entry,) = [entry for entry in read(tmp_path / "a.jsonl") if isinstance(entry, Entry)]
    assert counts["decoded"] == 0
    assert entry.body == (
        b"event: response.output_text.delta\ndata: " + DELTA + b"\n\nevent: response.completed\ndata: " + DONE + b"\n\n"
    )
    assert (entry.request.method, entry.how) == ("POST", "done")
