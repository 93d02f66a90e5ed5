"""The park: here Claude's tool calls wait for the app's results.

An app sends the result of a tool call with its next request. Until then Claude Code must believe that the tool is still
running. So Claude Code gets an MCP server that offers the names of the turn's tools and runs nothing. A call to it
returns when the app has sent the result. Claude Code reaches the server by JSON-RPC inside the SDK's control messages
(https://modelcontextprotocol.io/specification, "tools"). Claude gets the schemas and descriptions of the tools from the
request and not from this server (fact F73). Only the names must be the same (F71, F79).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SERVER = "client"

type Rpc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A waiting call: the ids of Claude Code's control request and of the JSON-RPC request inside it."""

    request_id: str
    rpc_id: Any


class Park:
    """The MCP server's part of the protocol, without I/O."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.listed: frozenset[str] = frozenset()
        """The names that Claude Code knows."""
        self._calls: dict[str, Call] = {}

    def offer(self, names: Iterable[str]) -> bool:
        """Offer these tools too. Returns whether the list has changed. Tools are never removed."""
        before = self.names
        self.names |= frozenset(names)
        return self.names != before

    def waits_for(self, calls: Sequence[str]) -> bool:
        """Whether all these calls have arrived."""
        return all(call in self._calls for call in calls)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The tool_use ids of the waiting calls."""
        return tuple(self._calls)

    def receive(self, request_id: str, message: Mapping[str, Any]) -> Rpc | None:
        """Return the answer to a JSON-RPC message; None for a tool call, which waits."""
        match message:
            case {"method": "initialize", "id": id, "params": params}:
                return _result(
                    id,
                    protocolVersion=params.get("protocolVersion", "2025-06-18"),
                    capabilities={"tools": {"listChanged": True}},
                    serverInfo={"name": SERVER, "version": "1"},
                )
            case {"method": "tools/list", "id": id}:
                self.listed = self.names
                return _result(id, tools=[_tool(name) for name in sorted(self.names)])
            case {"method": "tools/call", "id": id, "params": {"_meta": {"claudecode/toolUseId": str() as called}}}:
                self._calls[called] = Call(request_id, id)
                return None
            case {"method": "ping", "id": id}:
                return _result(id)
            case {"method": method, "id": id}:
                return {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": f"no method {method}"}}
            case _:
                return {"jsonrpc": "2.0", "result": {}}

    def forget(self) -> None:
        """Forget the waiting calls. Claude Code has given them up and would ignore an answer."""
        self._calls.clear()

    def resolve(self, tool_use_id: str, content: Sequence[Mapping[str, Any]]) -> tuple[str, Rpc]:
        """Return the id of a call's control request, and the answer to it. Raises KeyError if the call does not
        wait."""
        call = self._calls.pop(tool_use_id)
        return call.request_id, _result(call.rpc_id, content=[dict(block) for block in content], isError=False)


def _tool(name: str) -> Rpc:
    # The annotation lets parallel calls arrive together (fact F70). The schema accepts any input.
    return {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def _result(id: Any, **fields: Any) -> Rpc:
    return {"jsonrpc": "2.0", "id": id, "result": fields}
