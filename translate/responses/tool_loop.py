"""Makes one response of several messages of Claude with tool calls between them: a state machine.

Claude answers and calls tools of MCP servers. Understudy runs these calls, and Claude answers again. The app gets all
these messages as one. The calls have the form of Anthropic's MCP connector: ``mcp_tool_use`` replaces Claude's
``tool_use``, and ``mcp_tool_result`` follows when the result is there. The usage is the sum of all messages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from translate.chat.messages import call_input
from translate.content import is_blank
from translate.responses.mcp import McpCall
from translate.turn import ContentBlock
from translate.usage import add_counts

type Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Called:
    """A call by Claude. ``mine`` is the tool of the MCP server. None: it is a tool of the app."""

    id: str
    name: str
    input: Mapping[str, Any]
    mine: McpCall | None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool, in the form that Claude gets."""

    content: tuple[ContentBlock, ...]
    is_error: bool = False

    def told(self, call: Called) -> dict[str, Any]:
        """Return the result block in the form of Anthropic's MCP connector."""
        return {
            "type": "mcp_tool_result",
            "tool_use_id": call.id,
            "is_error": self.is_error,
            "content": list(self.content),
        }

    def given(self, call: Called) -> ContentBlock:
        """Return the ``tool_result`` block for Claude."""
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": call.id}
        if self.content:
            block["content"] = list(self.content)
        return {**block, "is_error": True} if self.is_error else block


class ToolLoop:
    """Takes the events of each message, and yields the events of one response. ``calls`` has the tool calls."""

    def __init__(self, tools: Mapping[str, McpCall]) -> None:
        self._tools = tools
        self._begun = False
        self._count = 0
        self._places: dict[int, int] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] = {}
        self._now: dict[str, Any] = {}
        self._stop: dict[str, Any] = {}

    @property
    def content(self) -> tuple[ContentBlock, ...]:
        """The content of Claude's last message, in the form that the next request needs."""
        return tuple(block for index in sorted(self._blocks) if (block := _whole(self._blocks[index])) is not None)

    @property
    def calls(self) -> list[Called]:
        """The tool calls of the last message, if its stop reason is ``tool_use``."""
        if self._stop.get("stop_reason") != "tool_use":
            return []
        uses = [block for _, block in sorted(self._blocks.items()) if block["type"] == "tool_use"]
        return [Called(u["id"], u["name"], _object(u["json"]), self._tools.get(u["name"])) for u in uses]

    def feed(self, event: Event) -> Iterator[Event]:
        """Read one event, and yield the response's events."""
        match event:
            case {"type": "message_start", "message": message}:
                self._now = dict(message.get("usage") or {})
                self._places, self._blocks, self._stop = {}, {}, {}
                if not self._begun:
                    self._begun = True
                    yield event
            case {"type": "content_block_start", "index": int() as index, "content_block": dict(block)}:
                self._blocks[index] = {**block, "json": ""}
                self._places[index] = self._next()
                yield {**event, "index": self._places[index], "content_block": self._told(block)}
            case {"type": "content_block_delta", "index": int() as index, "delta": dict(delta)} if (
                index in self._places
            ):
                self._add(self._blocks[index], delta)
                yield {**event, "index": self._places[index]}
            case {"type": "content_block_stop", "index": int() as index} if index in self._places:
                yield {**event, "index": self._places[index]}
            case {"type": "message_delta", "delta": dict(delta)}:
                self._now |= {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
                self._usage = add_counts(self._usage, self._now)
                self._stop = delta
            case {"type": "ping"}:
                yield event
            case _:
                pass

    def told(self, block: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a complete block that Claude did not write."""
        place = self._next()
        yield {"type": "content_block_start", "index": place, "content_block": dict(block)}
        yield {"type": "content_block_stop", "index": place}

    def finish(self) -> Event:
        """Return the event that ends the answer, with the usage of all its messages."""
        return {"type": "message_delta", "delta": self._stop or {"stop_reason": "end_turn"}, "usage": self._usage}

    def _told(self, block: Mapping[str, Any]) -> Mapping[str, Any]:
        mine = self._tools.get(str(block.get("name"))) if block.get("type") == "tool_use" else None
        if mine is None:
            return block
        return {**block, "type": "mcp_tool_use", "name": mine.tool, "server_name": mine.label}

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        for field in ("text", "thinking", "signature"):
            if isinstance(piece := delta.get(field), str):
                block[field] = str(block.get(field) or "") + piece
        if isinstance(piece := delta.get("partial_json"), str):
            block["json"] += piece

    def _next(self) -> int:
        self._count += 1
        return self._count - 1


def _whole(block: Mapping[str, Any]) -> ContentBlock | None:
    """Return a block for a request, or None if it is empty or not Claude's."""
    match block["type"]:
        case "text" if not is_blank(str(block.get("text") or "")):
            return {"type": "text", "text": block["text"]}
        case "thinking":
            return {"type": "thinking", "thinking": block.get("thinking", ""), "signature": block.get("signature", "")}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": block["data"]}
        case "tool_use":
            return {"type": "tool_use", "id": block["id"], "name": block["name"], "input": call_input(block["json"])}
        case _:
            return None


def _object(text: str) -> dict[str, Any]:
    """Return the arguments of a call, with all digits of their numbers. Empty if the text is not a JSON object."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
