"""Makes one answer of the many messages of an agent. A state machine.

An agent asks the API, uses tools, and asks again. An app expects one answer. The text of all messages becomes the text
of the answer, piece by piece. Each use of a tool becomes one line of thinking, or nothing. The usage is the sum. The
answer ends when the agent's run ends.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from translate.usage import add_counts

type Event = Mapping[str, Any]

MAX_SHOWN = 200


class OneAnswer:
    """Feed it every stream event of an agent's run, and take the events of the answer. :meth:`finish` ends the
    answer."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._blocks = 0
        self._has_text = False
        self._hidden: dict[int, dict[str, Any]] = {}
        self._places: dict[int, int] = {}
        self._usage: dict[str, Any] = {}
        self._now: dict[str, Any] = {}
        self._stop_reason = "end_turn"
        self.begun = False

    def feed(self, event: Event) -> Iterator[Event]:
        """Take one event, and yield the events that it adds to the answer."""
        match event:
            case {"type": "message_start", "message": message}:
                self._usage = add_counts(self._usage, self._now)
                self._now = dict(message.get("usage") or {})
                self._places.clear()
                self._hidden.clear()
                if not self.begun:
                    self.begun = True
                    yield event
            case {"type": "content_block_start", "index": int() as index, "content_block": block}:
                yield from self._start(index, block)
            case {"type": "content_block_delta", "index": int() as index, "delta": delta}:
                if index in self._places:
                    yield {**event, "index": self._places[index]}
                elif index in self._hidden and isinstance(delta, Mapping):
                    self._hidden[index]["json"] += str(delta.get("partial_json") or "")
            case {"type": "content_block_stop", "index": int() as index}:
                if index in self._places:
                    yield {**event, "index": self._places.pop(index)}
                elif index in self._hidden:
                    yield from self._told(self._hidden.pop(index))
            case {"type": "message_delta", "delta": {"stop_reason": str() as reason}}:
                self._now |= {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
                self._stop_reason = reason
            case {"type": "ping"}:
                yield event
            case _:
                pass

    def add(self, usage: Mapping[str, Any]) -> None:
        """Add the usage of requests other than the agent's own messages."""
        self._usage = add_counts(self._usage, usage)

    def finish(self) -> Event:
        """Return the event that ends the answer, with the usage of the whole run."""
        self._usage, self._now = add_counts(self._usage, self._now), {}
        # The tools are the agent's own. The app must not be told to answer a tool call.
        reason = "end_turn" if self._stop_reason in ("tool_use", "pause_turn") else self._stop_reason
        return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": self._usage}

    def _start(self, index: int, block: Any) -> Iterator[Event]:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind in ("text", "thinking", "redacted_thinking"):
            place = self._places[index] = self._next()
            yield {"type": "content_block_start", "index": place, "content_block": block}
            if kind == "text":
                if self._has_text:
                    # Text before and after the use of a tool are two paragraphs.
                    yield _delta(place, {"type": "text_delta", "text": "\n\n"})
                self._has_text = True
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self._hidden[index] = {"name": str(block.get("name")), "json": "", "input": block.get("input")}

    def _told(self, call: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the use of a tool as a block of thinking."""
        if not self._show:
            return
        place = self._next()
        yield {"type": "content_block_start", "index": place, "content_block": {"type": "thinking", "thinking": ""}}
        yield _delta(place, {"type": "thinking_delta", "thinking": f"{describe(call['name'], call['json'])}\n"})
        yield {"type": "content_block_stop", "index": place}

    def _next(self) -> int:
        self._blocks += 1
        return self._blocks - 1


def describe(name: str, written: str) -> str:
    """Return the use of a tool as one line: ``Read(file_path: src/a.py)``."""
    try:
        given = json.loads(written or "{}")
    except ValueError:
        given = {}
    pairs = given.items() if isinstance(given, dict) else ()
    told = ", ".join(f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in pairs)
    told = " ".join(told.split())
    return f"{name}({told[:MAX_SHOWN]}{'…' if len(told) > MAX_SHOWN else ''})"


def _delta(place: int, delta: dict[str, Any]) -> Event:
    return {"type": "content_block_delta", "index": place, "delta": delta}
