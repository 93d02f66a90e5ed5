"""MCP servers are asked for their tools and for what these give; what goes wrong is told without secrets."""

import asyncio
import base64
import gzip
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from PIL import Image

from api import mcp_client as asking
from api.image_process import MAX_SIDE
from api.images import Images
from api.mcp import call_tool, check_allowed, listed
from api.mcp_client import McpServerError, list_tools
from tests import mcp_server as mcp
from translate.errors import OpenAIError
from translate.responses.mcp import ListedTool, McpServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running() -> Iterator[mcp.McpServer]:
    with mcp.mcp_server() as server:
        yield server


def named(url: str, label: str = "calc", **fields: Any) -> McpServer:
    values = {"headers": {}, "allowed": None, "read_only": False, "path": "tools[0]", **fields}
    return McpServer(label=label, url=url, **values)


@pytest.fixture
def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}/mcp"


async def test_a_server_lists_its_tools(running: mcp.McpServer) -> None:
    tools = {tool.name: tool for tool in await list_tools(named(running.url))}

    assert set(tools) == {"add", "draw", "fail.always"}
    assert (tools["add"].description, tools["add"].read_only) == ("Add two numbers.", True)
    assert set(tools["add"].input_schema["properties"]) == {"a", "b"}


async def test_a_tool_gives_text_or_an_image(running: mcp.McpServer) -> None:
    added = await call_tool(named(running.url), "add", {"a": 1, "b": 2}, Images())
    drawn = await call_tool(named(running.url), "draw", {}, Images())

    assert (added.content, added.is_error) == (({"type": "text", "text": "3"},), False)
    assert drawn.content[0]["source"] == {"type": "base64", "media_type": "image/png", "data": mcp.PNG}


async def test_a_tool_that_fails_is_a_result(running: mcp.McpServer) -> None:
    result = await call_tool(named(running.url), "fail.always", {}, Images())

    assert result.is_error
    assert "it never works" in result.content[0]["text"]


async def test_what_it_takes_to_get_in_is_shown_to_the_server_alone(running: mcp.McpServer) -> None:
    running.login = "Bearer let-me-in"
    try:
        tools = await list_tools(named(running.url, headers={"Authorization": "Bearer let-me-in"}))
        with pytest.raises(McpServerError) as caught:
            await list_tools(named(running.url, headers={"Authorization": "Bearer wrong-key"}))
    finally:
        running.login = None

    assert tools
    assert "401" in str(caught.value)
    assert "wrong-key" not in str(caught.value)


async def test_a_server_that_is_not_there_is_named_without_its_login(nowhere: str) -> None:
    with pytest.raises(McpServerError) as caught:
        await list_tools(named(nowhere))
    result = await call_tool(named(nowhere), "add", {}, Images())

    assert "'calc' at 127.0.0.1:" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert result.is_error


async def test_only_servers_that_are_not_known_are_asked(running: mcp.McpServer, nowhere: str) -> None:
    known = {"other": (ListedTool("x", "", {}),)}
    tools, new = await listed([named(running.url), named(nowhere, "other")], known)

    assert set(tools) == {"calc", "other"}
    assert set(new) == {"calc"}
    with pytest.raises(OpenAIError) as caught:
        await listed([named(nowhere)], {})
    assert (caught.value.status, caught.value.param) == (424, "tools")


async def test_if_one_server_fails_the_other_requests_are_cancelled(nowhere: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        before = asyncio.all_tasks()
        with pytest.raises(OpenAIError):
            await listed([named(f"http://{host}:{port}/mcp"), named(nowhere, "other")], {})
        asking = [task for task in asyncio.all_tasks() - before if "list_tools" in str(task.get_coro())]

    assert asking == []


@asynccontextmanager
async def answering(answer: Callable[[Mapping[str, Any]], tuple[str, bytes | None]]) -> AsyncIterator[str]:
    """Serve what a function makes of each request of JSON-RPC: headers and a body, None for one without end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                sizes = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line]
                asked = json.loads(await reader.readexactly(sizes[0]) if sizes else b"{}")
                if "id" not in asked:
                    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                    continue
                headers, body = answer(asked)
                if body is not None:
                    headers += f"content-length: {len(body)}\r\n"
                writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + (body or b""))
                while body is None:
                    writer.write(b" " * 65536)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


JSON = "content-type: application/json\r\n"


def result(asked: Mapping[str, Any], **fields: Any) -> tuple[str, bytes]:
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
    told = about if asked["method"] == "initialize" else {"tools": [], **fields}
    return JSON, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}).encode()


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        pytest.param(JSON, None, "more than 1000000 bytes", id="no end of JSON"),
        pytest.param("content-type: text/event-stream\r\n", None, "more than 1000000 bytes", id="no end of an event"),
        pytest.param(f"{JSON}content-encoding: gzip\r\n", gzip.compress(b"{}"), "compressed", id="of any size"),
        pytest.param(JSON, b"{", "Invalid JSON", id="no JSON"),
        pytest.param("content-type: text/html\r\n", b"<html>", "text/html", id="a web page"),
    ],
)
async def test_a_server_that_answers_nonsense_is_given_up_at_once(
    headers: str, body: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_BYTES", 1_000_000)
    async with answering(lambda asked: (headers, body)) as url:
        with pytest.raises(McpServerError, match=reason):
            await list_tools(named(url))


async def test_half_a_character_in_what_a_tool_gives_fails_that_call_at_once() -> None:
    half = {"type": "text", "text": "\ud83d"}
    async with answering(lambda asked: result(asked, content=[half])) as url:
        told = await call_tool(named(url), "any", {}, Images())

    assert told.is_error
    assert "Invalid JSON" in told.content[0]["text"]


async def test_an_image_of_a_tools_is_made_to_fit_or_said_not_to_be_shown() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (MAX_SIDE + 1, 10)).save(buffer, "PNG")
    large = base64.b64encode(buffer.getvalue()).decode()
    images = [{"type": "image", "data": data, "mimeType": "image/png"} for data in (large, "bm9uZQ==", "%%%%")]
    async with answering(lambda asked: result(asked, content=images)) as url:
        told = await call_tool(named(url), "any", {}, Images())

    fitted, *others = told.content
    with Image.open(io.BytesIO(base64.b64decode(fitted["source"]["data"]))) as image:
        assert image.width == MAX_SIDE
    assert others == [{"type": "text", "text": "[image that cannot be shown]"}] * 2


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example/mcp", True),
        ("https://b.example/any/thing", True),
        ("https://a.example/mcp2", False),
        ("http://a.example/mcp", False),
        ("https://a.example.evil.example/mcp", False),
        ("https://one.c.example/mcp", True),
        ("https://evil.example/.c.example/mcp", False),
        ("https://evil.example?.c.example/mcp", False),
        ("https://evil.example#.c.example/mcp", False),
        ("https://user:pass@one.c.example/mcp", True),
        ("https://d.example/tools/mcp..v2", True),
        ("https://d.example/tools/../admin", False),
        ("https://d.example/tools/%2e%2E/admin", False),
        ("https://d.example/tools/..", False),
    ],
)
def test_only_what_the_operator_has_allowed_is_asked(url: str, allowed: bool) -> None:
    patterns = ["https://a.example/mcp", "https://b.example/*", "https://*.c.example/*", "https://d.example/tools/*"]
    if allowed:
        check_allowed([named(url)], patterns)
        return
    with pytest.raises(OpenAIError) as caught:
        check_allowed([named(url)], patterns)
    assert caught.value.param == "tools[0].server_url"


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("https://mcp.example.com*", "https://mcp.example.com/tools", True),
        ("https://mcp.example.com*", "https://mcp.example.com", True),
        ("https://mcp.example.com*", "https://mcp.example.com.elsewhere/tools", False),
        ("https://mcp.example.com*", "https://mcp.example.community/tools", False),
        ("https://mcp.example.com*/", "https://mcp.example.com.elsewhere/", False),
        ("https://mcp.example.com*", "https://mcp.example.com@elsewhere/", False),
        ("*.example.com/*", "https://elsewhere/.example.com/tools", False),
        ("*.example.com/*", "https://mcp.example.com/tools", True),
        ("http://127.0.0.1:*", "http://127.0.0.1:8000/mcp", True),
        ("https://*", "https://anywhere.example/mcp", True),
        ("*", "https://anywhere.example/mcp", True),
    ],
)
async def test_a_pattern_without_a_slash_is_of_its_own_host(pattern: str, url: str, allowed: bool) -> None:
    if allowed:
        check_allowed([named(url)], [pattern])
        return
    with pytest.raises(OpenAIError):
        check_allowed([named(url)], [pattern])
