"""Whatever an MCP server answers, the app gets an answer or an error as OpenAI has them."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from api import mcp_client
from engine import Event
from tests.api.scripted import END, START, Scripted, client, text
from tests.attacks.fuzzing import cases, changed, check_error, varied

pytestmark = pytest.mark.anyio

RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-03-26",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "test", "version": "1"},
    },
    "tools/list": {
        "tools": [{"name": "add", "description": "Adds.", "inputSchema": {"type": "object", "properties": {}}}],
        "nextCursor": None,
    },
    "tools/call": {
        "content": [
            {"type": "text", "text": "3"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "b"}},
        ],
        "isError": False,
    },
}
CALL: list[Event] = [
    START,
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t1", "name": "calc__add", "input": {}},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}},
]


class Hostile:
    """A server that answers as a seed has it: one of its answers is not what it should be."""

    def __init__(self) -> None:
        self.by = Random(0)
        self.wrong = ""
        self.url = ""

    def answer(self, asked: Any) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        method = asked.get("method", "")
        if "id" not in asked:
            return 202, "application/json", b""
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": RESULTS.get(method, {})}
        if method != self.wrong:
            return 200, "application/json", json.dumps(answer).encode()
        if self.by.random() < 0.7:
            # The id stays: a client waits for the answer to its question.
            answer["result"] = varied(self.by, answer["result"])
            return 200, "application/json", json.dumps(answer).encode()
        body = changed(self.by, json.dumps(answer).encode())
        if self.by.random() < 0.5:
            return 200, "text/event-stream", b"event: message\ndata: " + body + b"\n\n"
        return self.by.choice([200, 200, 204, 302, 400, 500]), self.by.choice(["application/json", "a/b", ""]), body


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, kind, body = server.answer(asked)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(405)

        def do_DELETE(self) -> None:
            self.send_error(405)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_address[1]}/mcp"
    thread = threading.Thread(target=listening.serve_forever, name="a hostile MCP server")
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join(30)
        listening.server_close()


async def test_answers_of_mcp_servers(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Some answers are to another question than was asked, and a client waits on.
    monkeypatch.setattr(mcp_client, "LIST_S", 1.0)
    monkeypatch.setattr(mcp_client, "CALL_S", 1.0)
    tool = {"type": "mcp", "server_label": "calc", "server_url": hostile.url, "require_approval": "never"}
    asked = {"model": "gpt-4o", "input": "Add.", "tools": [tool]}
    with caplog.at_level(logging.WARNING):
        for seed, by in cases(40):
            hostile.by, hostile.wrong = by, by.choice(list(RESULTS))
            engine = Scripted(CALL, [START, *text("It is 3."), END])
            async with client(engine, mcp_servers=("http://127.0.0.1:*",)) as http:
                answer = await http.post("/v1/responses", json=asked)
            assert answer.status_code in (200, 400, 424), (seed, answer.text)
            if answer.status_code != 200:
                check_error(answer.content, seed)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
