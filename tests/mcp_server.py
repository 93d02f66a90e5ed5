"""A real MCP server on loopback, in a thread of its own: the library's, by streamable HTTP."""

import contextlib
import socket
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.types import ImageContent
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(slots=True)
class McpServer:
    """A server that runs. ``asked`` are the tools that were called, ``seen`` the logins that were shown."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    login: str | None = None
    """What it lets in; None: everybody."""


@contextlib.contextmanager
def mcp_server() -> Iterator[McpServer]:
    """Run a server with three tools: ``add``, ``draw`` and ``fail.always``."""
    running = McpServer()
    with warnings.catch_warnings():
        # Its settings warn of themselves.
        warnings.simplefilter("ignore")
        tools = FastMCP("test")

    @tools.tool(annotations={"readOnlyHint": True})  # type: ignore[arg-type]
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        running.asked.append("add")
        return str(a + b)

    @tools.tool(structured_output=False)
    def draw() -> ImageContent:
        """Draw a dot."""
        running.asked.append("draw")
        return ImageContent(type="image", data=PNG, mimeType="image/png")

    @tools.tool("fail.always")
    def fail() -> str:
        """Fail."""
        running.asked.append("fail.always")
        raise ValueError("it never works")

    app: Any = tools.streamable_http_app()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            login = Request(scope).headers.get("authorization", "")
            running.seen.add(login)
            if running.login is not None and login != running.login:
                refusal: Response = PlainTextResponse("no", status_code=401)
                await refusal(scope, receive, send)
                return
        await app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        running.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listener],), name="an MCP server")
        thread.start()
        try:
            yield running
        finally:
            server.should_exit = True
            thread.join(30)
