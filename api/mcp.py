"""Which MCP servers may be asked, and asking them.

Only servers whose addresses the operator has allowed are asked, because this machine asks them. Each question is a
connection of its own, by streamable HTTP (https://modelcontextprotocol.io/specification, "transports").
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from api.images import Images
from engine.late_imports import import_late
from translate.errors import OpenAIError
from translate.responses.mcp import ListedTool, McpServer
from translate.responses.tool_loop import Result

_DOTS = re.compile(r"(?:^|[/\\])(?:\.|%2e){1,2}(?=[/\\]|$)", re.IGNORECASE)
"""A step to another folder, in a path."""


def check_allowed(servers: Sequence[McpServer], allowed: Sequence[str]) -> None:
    """Refuse servers that match none of the operator's patterns. Raises OpenAIError (400)."""
    for server in servers:
        if not any(_fits(server.url, pattern) for pattern in allowed):
            message = (
                f"Unsupported value: '{server.path}.server_url': the operator of this proxy has not allowed this server"
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
    if not asked:
        return dict(known), {}
    await import_late("api.mcp_client")
    from api.mcp_client import McpServerError, list_tools

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


async def call_tool(server: McpServer, name: str, arguments: Mapping[str, Any], images: Images) -> Result:
    """Have a server's tool called. A failure is a result too, which Claude can act on."""
    await import_late("api.mcp_client")
    from api.mcp_client import call_tool

    return await call_tool(server, name, arguments, images)
