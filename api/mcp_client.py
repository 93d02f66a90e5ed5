"""What asks an MCP server: for its tools, and for what a tool gives. Bounded in time and in bytes.

It is a module of its own because the `mcp` library takes half a second to import, and most proxies ask no MCP server.
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

# The library logs tracebacks and whole answers of what a server has done wrong. We log one line instead.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

LIST_S = 30.0
"""How long a server may take to list its tools."""
CALL_S = 120.0
"""How long a tool may take."""

MAX_PAGES = 20
"""How many pages of a list of tools are read."""

MAX_BYTES = 32 * 1024 * 1024
"""How many bytes a server may answer to one question."""


class McpServerError(Exception):
    """A server cannot be asked. The message says why, and holds no secret."""


async def list_tools(server: McpServer) -> tuple[ListedTool, ...]:
    """Ask a server for its tools. Raises McpServerError."""
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
    """Have a server's tool called. What goes wrong is a result too: Claude can say so, or try something else."""
    try:
        async with _asking(server, CALL_S) as session:
            result = await session.call_tool(name, dict(arguments))
    except McpServerError as error:
        return Result((text_block(f"The tool could not be called: {error}"),), is_error=True)
    return await _result(result, images)


@asynccontextmanager
async def _asking(server: McpServer, limit_s: float) -> AsyncIterator[ClientSession]:
    """Open a session with a server, for a while. Raises McpServerError for whatever goes wrong in it."""
    where = f"{server.label!r} at {urlsplit(server.url).netloc.rpartition('@')[2]}"
    wrong: list[str] = []
    total, goes_on = 0, False

    def give_up(reason: str) -> None:
        wrong.append(reason)
        if not limit.expired():
            limit.reschedule(0)

    async def hear(message: object) -> None:
        # The library would wait on. In a stream of events something better may follow.
        if isinstance(message, ValueError) and not goes_on:
            give_up(_reason(message))

    def count(size: int) -> None:
        nonlocal total
        total += size
        if total > MAX_BYTES:
            give_up(f"it answered with more than {MAX_BYTES} bytes")

    async def bound(response: httpx.Response) -> None:
        nonlocal goes_on
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it is an AsyncClient's
        if response.headers.get("content-encoding", "identity") != "identity":
            give_up("its answer is compressed, which it was not asked for")
        goes_on = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _Bounded(response.stream, count)

    # What is compressed may be of any size.
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
    except Exception as error:  # the library's own are many, and come in groups
        reason = wrong[0] if wrong else _reason(error)
        log.warning("the MCP server %s cannot be asked: %s", where, reason)
        raise McpServerError(f"{where}: {reason}") from error


class _Bounded(httpx.AsyncByteStream):
    """A body whose pieces are told of, by their length."""

    def __init__(self, body: httpx.AsyncByteStream, tell: Callable[[int], None]) -> None:
        self._body = body
        self._tell = tell

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self._tell(len(piece))
            # So that whoever gives up is heard although the pieces come without end.
            await asyncio.sleep(0)
            yield piece

    async def aclose(self) -> None:
        """Close the connection's side of it."""
        await self._body.aclose()


def _reason(error: BaseException) -> str:
    """Return what is behind an error, in a few words that hold no secret."""
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
    """Return an image as Claude Code passes it on; None for one that it would not."""
    try:
        decoded = base64.b64decode(data, validate=True)
        source = {"type": "base64", "media_type": image_type(said, decoded, ""), "data": data}
        return await images.fit({"type": "image", "source": source}, "")
    except (ValueError, OpenAIError):
        return None
