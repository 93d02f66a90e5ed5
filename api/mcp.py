"""What asks MCP servers: for their tools, and for what a tool gives.

Only servers that the operator has allowed by address are asked, since it is from this machine that they are asked. Each
question is a connection of its own, by streamable HTTP (https://modelcontextprotocol.io/specification, "transports").
"""

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
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

# The library logs tracebacks and whole answers of what a server has done wrong. We say it in a line.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

LIST_S = 30.0
"""How long a server may take to list its tools."""
CALL_S = 120.0
"""How long a tool may take."""

MAX_PAGES = 20
"""Of a list of tools."""

MAX_BYTES = 32 * 1024 * 1024
"""What a server may say to one question."""

_DOTS = re.compile(r"(?:^|[/\\])(?:\.|%2e){1,2}(?=[/\\]|$)", re.IGNORECASE)
"""A step to another folder, in a path."""


class McpServerError(Exception):
    """A server cannot be asked. The message says why, and nothing of what it takes to get in."""


def check_allowed(servers: Sequence[McpServer], allowed: Sequence[str]) -> None:
    """Refuse servers that match none of the operator's patterns. Raises OpenAIError (400)."""
    for server in servers:
        if not any(_fits(server.url, pattern) for pattern in allowed):
            message = (
                f"Unsupported value: '{server.path}.server_url': whoever runs this proxy has not allowed this server"
                " (setting mcp_servers)."
            )
            raise OpenAIError(message, param=f"{server.path}.server_url", code="unsupported_value")


def _fits(url: str, pattern: str) -> bool:
    """Whether an address is one of a pattern's.

    The host must fit by itself, too: ``https://*.example.com/*`` is not ``https://elsewhere/.example.com/``, and
    ``https://mcp.example.com*`` is not ``https://mcp.example.com.elsewhere/``. No path may lead out of the pattern's:
    it would be asked for without its dots.
    """
    scheme, separator, rest = pattern.rpartition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    # A * right behind a name stands for what follows the host, as in a pattern without a slash.
    host = re.sub(r"(?<=[\w-])\*+$", "", host)
    parts = urlsplit(url)
    return (
        fnmatchcase(url, pattern)
        and fnmatchcase(parts.scheme, scheme if separator else "*")
        and fnmatchcase(parts.netloc.rpartition("@")[2], host)
        and not _DOTS.search(parts.path)
    )


async def listed(
    servers: Sequence[McpServer], known: Mapping[str, tuple[ListedTool, ...]]
) -> tuple[dict[str, tuple[ListedTool, ...]], dict[str, tuple[ListedTool, ...]]]:
    """Return the tools of all servers, and of those that had to be asked; ``known`` are told by the conversation.

    Raises OpenAIError (424) for a server that cannot be asked.
    """
    asked = [server for server in servers if server.label not in known]
    asking = [asyncio.ensure_future(list_tools(server)) for server in asked]
    try:
        found = await asyncio.gather(*asking)
    except McpServerError as error:
        message = f"Error retrieving the tool list from an MCP server: {error}"
        raise OpenAIError(message, status=424, param="tools", code="mcp_server_error") from error
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    new = {server.label: tools for server, tools in zip(asked, found, strict=True)}
    return {**known, **new}, new


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
