"""Where Claude's tool calls wait for the app's answers.

An app answers a tool call with its next request. Until then Claude Code waits for a tool of its own to return: this is
the MCP server that it is given for that, spoken to in JSON-RPC inside the SDK's control messages
(https://modelcontextprotocol.io/specification, "tools"). It offers whatever names a turn's tools have, runs nothing,
and returns a call when told what the app said. What Claude sees of the tools (schema, description) is not from here but
from the request itself (fact F73); the names must be the same for the calls to find their way (F71, F79).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SERVER = "client"

type Rpc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that waits: Claude Code's control request and the JSON-RPC request inside it."""

    request_id: str
    rpc_id: Any


class Park:
    """The server's side of the protocol, without I/O."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.listed: frozenset[str] = frozenset()
        """The names that Claude Code has been told."""
        self._calls: dict[str, Call] = {}

    def offer(self, names: Iterable[str]) -> bool:
        """Offer these tools too, from now on. Returns whether the list has changed. It never shrinks."""
        before = self.names
        self.names |= frozenset(names)
        return self.names != before

    def waits_for(self, calls: Sequence[str]) -> bool:
        """Whether all these calls have arrived."""
        return all(call in self._calls for call in calls)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The tool_use ids of the calls that wait."""
        return tuple(self._calls)

    def receive(self, request_id: str, message: Mapping[str, Any]) -> Rpc | None:
        """Answer a JSON-RPC message; None for a call, which waits."""
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
        """Forget the calls that wait: Claude Code has given them up, and would not hear an answer."""
        self._calls.clear()

    def resolve(self, tool_use_id: str, content: Sequence[Mapping[str, Any]]) -> tuple[str, Rpc]:
        """Return the control request that a call came with, and what answers it. Raises KeyError when none waits."""
        call = self._calls.pop(tool_use_id)
        return call.request_id, _result(call.rpc_id, content=[dict(block) for block in content], isError=False)


def _tool(name: str) -> Rpc:
    # The annotation lets parallel calls arrive together (fact F70); the schema takes any input.
    return {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def _result(id: Any, **fields: Any) -> Rpc:
    return {"jsonrpc": "2.0", "id": id, "result": fields}
