"""MCP servers that an app names by their addresses, and what Claude is offered of them.

To Claude a server's tools are functions whose names begin with the server's label. Who calls them is the caller's
business (:mod:`api.mcp_loop`): it tells of it in the words of Anthropic's MCP connector
(https://docs.anthropic.com/en/docs/agents-and-tools/mcp-connector), blocks of ``mcp_tool_use`` and ``mcp_tool_result``,
which become OpenAI's ``mcp_call`` items (https://platform.openai.com/docs/guides/tools-connectors-mcp).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from translate.chat.messages import invalid_type
from translate.errors import OpenAIError
from translate.responses.asked import Item, McpFilter, McpTool
from translate.responses.offered import MAX_NAME, claude_name, with_digest

LISTED = "mcp_list_tools"
"""The type of the block, and of the item, with the list of a server's tools."""

LABEL = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NOT_THE_APPS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
"""Headers by which a request could go to another server behind the same address, or become two."""

_ODD = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class McpServer:
    """A server that a request names. ``headers`` are secrets. ``allowed`` None: all its tools."""

    label: str
    url: str
    headers: Mapping[str, str]
    allowed: tuple[str, ...] | None
    read_only: bool
    path: str

    def offers(self, tool: "ListedTool") -> bool:
        """Whether the request wants this tool."""
        return (self.allowed is None or tool.name in self.allowed) and (tool.read_only or not self.read_only)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool in a server's list."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    read_only: bool = False

    def as_item(self) -> dict[str, Any]:
        """Return it as a ``mcp_list_tools`` item has it."""
        about = {"read_only": self.read_only}
        return {
            "name": self.name,
            "description": self.description,
            "input_schema": dict(self.input_schema),
            "annotations": about,
        }


@dataclass(frozen=True, slots=True)
class McpCall:
    """The server's label and the tool of a call by Claude."""

    label: str
    tool: str


def mcp_name(label: str, tool: str) -> str:
    """Return Claude's name for a server's tool."""
    return claude_name(_ODD.sub("_", tool), _ODD.sub("_", label))


def of_server(label: str, names: Sequence[str]) -> list[str]:
    """Return the names that belong to a server's tools."""
    begins = mcp_name(label, "")[: MAX_NAME - 9]  # what names that are too long keep
    return [name for name in names if name.startswith(begins)]


def mcp_servers(tools: Sequence[Any]) -> tuple[McpServer, ...]:
    """Return the servers that a request's tools name. Raises OpenAIError (400)."""
    found = [_server(tool, f"tools[{index}]") for index, tool in enumerate(tools) if is_mcp(tool)]
    labels = [server.label for server in found]
    for server in found:
        if labels.count(server.label) > 1:
            raise _invalid(f"{server.path}.server_label", f"{server.label!r} names more than one server")
    return tuple(found)


def is_mcp(tool: Any) -> bool:
    """Whether a tool is an MCP server."""
    return isinstance(tool, Mapping) and tool.get("type") == "mcp"


def listed_before(items: Sequence[Any]) -> dict[str, tuple[ListedTool, ...]]:
    """Return the tools that the conversation has listed already, by server label."""
    found = {}
    for item in items:
        match item:
            case {"type": "mcp_list_tools", "server_label": str() as label, "tools": list(tools)}:
                found[label] = tuple(_listed(tool) for tool in tools if isinstance(tool, Mapping) and "name" in tool)
            case _:
                pass
    return found


def _listed(tool: Mapping[str, Any]) -> ListedTool:
    schema, about = tool.get("input_schema"), tool.get("annotations")
    return ListedTool(
        str(tool["name"]),
        str(tool.get("description") or ""),
        schema if isinstance(schema, Mapping) else {"type": "object"},
        read_only=isinstance(about, Mapping) and about.get("read_only") is True,
    )


def as_functions(server: McpServer, tools: Sequence[ListedTool]) -> tuple[list[tuple[str, Item]], dict[str, McpCall]]:
    """Return the functions that stand for a server's tools, with their path, and whose each is by Claude's name.

    What is listed twice is offered once. Names that only differ in what Claude's names cannot hold stay apart.
    """
    functions: list[tuple[str, Item]] = []
    calls: dict[str, McpCall] = {}
    for tool in {tool.name: tool for tool in tools}.values():
        if server.offers(tool):
            name = mcp_name(server.label, tool.name)
            if name in calls:
                name = with_digest(name, of=tool.name)
            schema = {**tool.input_schema, "type": "object"}
            function = {"type": "function", "name": name, "description": tool.description, "parameters": schema}
            functions.append((server.path, function))
            calls[name] = McpCall(server.label, tool.name)
    return functions, calls


def echoed_mcp(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server as a response repeats it, without credentials: ``headers`` is always null."""
    shown = ("server_label", "server_url", "server_description", "allowed_tools", "require_approval")
    return {"type": "mcp", **{name: tool.get(name) for name in shown}, "headers": None}


def _server(raw: Mapping[str, Any], path: str) -> McpServer:
    try:
        tool = msgspec.convert(raw, McpTool)
    except msgspec.ValidationError as error:
        raise invalid_type(error, path) from None
    if not LABEL.fullmatch(tool.server_label):
        raise _invalid(f"{path}.server_label", "it is up to 64 letters, digits, _ and -")
    if tool.server_url is None:
        message = (
            f"Unsupported value: '{path}': only servers with a 'server_url' are asked; there are no connectors here."
        )
        raise OpenAIError(message, param=f"{path}.server_url", code="unsupported_value")
    if not _is_address(tool.server_url):
        raise _invalid(f"{path}.server_url", "it is no http: or https: address")
    if tool.require_approval != "never":
        message = (
            f"Unsupported value: '{path}.require_approval': nobody can be asked for approval here; only 'never' is"
            " supported."
        )
        raise OpenAIError(message, param=f"{path}.require_approval", code="unsupported_value")
    headers = dict(tool.headers or {})
    if odd := next((name for name in headers if name.strip().lower() in NOT_THE_APPS), None):
        raise _invalid(f"{path}.headers", f"{odd!r} is not for the app to say")
    if tool.authorization:
        headers["Authorization"] = f"Bearer {tool.authorization}"
    filtered = tool.allowed_tools
    names = filtered.tool_names if isinstance(filtered, McpFilter) else filtered
    read_only = isinstance(filtered, McpFilter) and filtered.read_only is True
    allowed = None if names is None else tuple(names)
    return McpServer(tool.server_label, tool.server_url, headers, allowed, read_only, path)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _invalid(path: str, why: str) -> OpenAIError:
    return OpenAIError(f"Invalid '{path}': {why}.", param=path, code="invalid_value")
