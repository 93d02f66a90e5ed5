"""List and call the tools of MCP servers, with limits on time and bytes.

This is a separate module because the `mcp` library takes half a second to import, and most proxies use no MCP server.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, EmbeddedResource, ImageContent, TextContent, TextResourceContents

from api.images import Images
from translate.content import image_type, is_blank, text_block
from translate.errors import OpenAIError
from translate.printable import one_line
from translate.responses.mcp import ListedTool, McpServer
from translate.responses.tool_loop import Result
from translate.turn import ContentBlock

log = logging.getLogger(__name__)

# For a server's errors, the library logs tracebacks and whole responses. This module logs one line instead.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

LIST_S = 30.0
"""How many seconds a server may take to list its tools."""
CALL_S = 120.0
"""How many seconds a tool call may take."""

MAX_PAGES = 20
"""How many pages of the list of tools are read at most."""

MAX_BYTES = 32 * 1024 * 1024
"""How many bytes a server may send in one session."""


class McpServerError(Exception):
    """A request to a server failed. The message gives the reason, without secrets."""


async def list_tools(server: McpServer) -> tuple[ListedTool, ...]:
    """Return a server's tools. Raises McpServerError."""
    tools: list[ListedTool] = []
    async with _asking(server, LIST_S) as session:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await session.list_tools(cursor)
            for tool in page.tools:
                read_only = bool(tool.annotations and tool.annotations.readOnlyHint)
                tools.append(ListedTool(tool.name, tool.description or "", tool.inputSchema, read_only))
            cursor = page.nextCursor
            if cursor is None:
                break
    return tuple(tools)


async def call_tool(server: McpServer, name: str, arguments: Mapping[str, Any], images: Images) -> Result:
    """Call a server's tool. Return an error as a result, so that Claude can report it or try something else."""
    try:
        async with _asking(server, CALL_S) as session:
            result = await session.call_tool(name, dict(arguments))
    except McpServerError as error:
        return Result((text_block(f"The tool could not be called: {error}"),), is_error=True)
    return await _result(result, images)


@asynccontextmanager
async def _asking(server: McpServer, limit_s: float) -> AsyncIterator[ClientSession]:
    """Open a session with a server for up to ``limit_s`` seconds. Raises McpServerError for any error in it."""
    where = f"{server.label!r} at {urlsplit(server.url).netloc.rpartition('@')[2]}"
    wrong: list[str] = []
    total, goes_on = 0, False

    def give_up(reason: str) -> None:
        wrong.append(reason)
        if not limit.expired():
            limit.reschedule(0)

    async def hear(message: object) -> None:
        # The library would keep waiting. In an event stream, a valid message may follow.
        if isinstance(message, ValueError) and not goes_on:
            give_up(_reason(message))

    def count(size: int) -> None:
        nonlocal total
        total += size
        if total > MAX_BYTES:
            give_up(f"it answered with more than {MAX_BYTES} bytes")

    async def bound(response: httpx.Response) -> None:
        nonlocal goes_on
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - the client is an AsyncClient
        if response.headers.get("content-encoding", "identity") != "identity":
            give_up("its answer is compressed, which it was not asked for")
        goes_on = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _Bounded(response.stream, count)

    # A compressed response may decompress to any size.
    headers = {**server.headers, "accept-encoding": "identity"}
    try:
        async with (
            asyncio.timeout(limit_s) as limit,
            httpx.AsyncClient(headers=headers, timeout=limit_s, event_hooks={"response": [bound]}) as client,
            streamable_http_client(server.url, http_client=client) as (incoming, outgoing, _),
            ClientSession(incoming, outgoing, message_handler=hear) as session,
        ):
            await session.initialize()
            yield session
    except TimeoutError:
        raise McpServerError(f"{where}: {wrong[0]}" if wrong else f"{where} did not answer in {limit_s:g} s") from None
    except Exception as error:  # the library raises many types of errors, also in groups
        reason = wrong[0] if wrong else _reason(error)
        log.warning("the MCP server %s cannot be asked: %s", where, reason)
        raise McpServerError(f"{where}: {reason}") from error


class _Bounded(httpx.AsyncByteStream):
    """A body that calls ``tell`` with the length of each piece."""

    def __init__(self, body: httpx.AsyncByteStream, tell: Callable[[int], None]) -> None:
        self._body = body
        self._tell = tell

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self._tell(len(piece))
            # Let the timeout take effect, even if the pieces never pause.
            await asyncio.sleep(0)
            yield piece

    async def aclose(self) -> None:
        """Close the body."""
        await self._body.aclose()


def _reason(error: BaseException) -> str:
    """Return the cause of an error in a few words, without secrets."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered with status {error.response.status_code}"
    if isinstance(error, httpx.HTTPError):
        return "it cannot be reached"
    return one_line(f"{type(error).__name__}: {' '.join(str(error).split())}"[:200])


async def _result(result: CallToolResult, images: Images) -> Result:
    blocks = [await _block(part, images) for part in result.content]
    return Result(tuple(block for block in blocks if block is not None), is_error=result.isError)


async def _block(part: object, images: Images) -> ContentBlock | None:
    match part:
        case TextContent(text=text):
            return None if is_blank(text) else text_block(text)
        case ImageContent(data=data, mimeType=said) if (image := await _image(data, said, images)) is not None:
            return image
        case EmbeddedResource(resource=TextResourceContents(text=text)):
            return None if is_blank(text) else text_block(text)
        case _:
            return text_block(f"[{getattr(part, 'type', 'something')} that cannot be shown]")


async def _image(data: str, said: str, images: Images) -> ContentBlock | None:
    """Return an image block within the limits of Claude Code; None if the image is invalid."""
    try:
        decoded = base64.b64decode(data, validate=True)
        source = {"type": "base64", "media_type": image_type(said, decoded, ""), "data": data}
        return await images.fit({"type": "image", "source": source}, "")
    except (ValueError, OpenAIError):
        return None
