"""Turns whose tools have property names that Claude's API does not accept.

Below this engine Claude's names are used, and above it the app's names: in the Turn, in the events, in a recording. So
nothing else has to know of the renaming (:mod:`translate.property_names`).
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from engine import ClaudeError, Engine, Event, Running
from engine.around import Around
from translate.property_names import (
    KeyRenamer,
    Names,
    names_of_tools,
    renamed_keys,
    renamed_turn,
    reversed_names,
)
from translate.turn import Turn


class Renaming:
    """An engine that plays turns on another engine, with names that Claude's API accepts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def status(self) -> dict[str, Any]:
        """Return the state of the wrapped engine."""
        return self._engine.status()

    def run(self, turn: Turn) -> AbstractAsyncContextManager[Running]:
        """Play a turn. One whose names are all accepted is passed on unchanged."""
        names = names_of_tools(turn.tools)
        return self._renamed(turn, names) if names else self._engine.run(turn)

    @asynccontextmanager
    async def _renamed(self, turn: Turn, names: Mapping[str, Names]) -> AsyncIterator[Running]:
        async with self._engine.run(renamed_for_claude(turn, names)) as running:
            yield _RenamedBack(running, {tool: reversed_names(inside) for tool, inside in names.items()})


def renamed_for_claude(turn: Turn, names: Mapping[str, Names]) -> Turn:
    """Return a turn with Claude's names. Raises ClaudeError (``invalid_request_error``) if it is nested too deeply."""
    try:
        return renamed_turn(turn, names)
    except RecursionError:
        raise too_deep() from None


def too_deep() -> ClaudeError:
    """Return the error of a turn that is nested too deeply."""
    reason = "a tool's schema, or the arguments of a call, are nested too deeply."
    return ClaudeError("invalid_request_error", detail=reason, reason=reason)


class _RenamedBack(Around):
    """A running turn whose calls have the app's names."""

    def __init__(self, running: Running, names: Mapping[str, Names]) -> None:
        super().__init__(running)
        self._names = names

    async def __aiter__(self) -> AsyncIterator[Event]:
        calls = CallsRenamedBack(self._names)
        async for event in self._running:
            for told in calls.feed(event):
                yield told


class CallsRenamedBack:
    """Renames the properties of the tool calls in a stream of events. ``names`` are those of each tool."""

    def __init__(self, names: Mapping[str, Names]) -> None:
        self._names = names
        self._index: Any = None
        self._renamer: KeyRenamer | None = None

    def feed(self, event: Event) -> Iterator[Event]:
        """Yield the events that are certain after this one."""
        match event:
            case {"type": "content_block_start", "content_block": {"type": "tool_use", "name": str() as name} as block}:
                self._renamer = KeyRenamer(self._names[name]) if name in self._names else None
                self._index = event.get("index")
                if self._renamer is not None and block.get("input"):
                    event = {
                        **event,
                        "content_block": {**block, "input": renamed_keys(block["input"], self._names[name])},
                    }
            case {"type": "content_block_delta", "delta": {"partial_json": str() as piece} as delta}:
                if self._renamer is not None:
                    piece = self._renamer.feed(piece)
                    if not piece:
                        return
                    event = {**event, "delta": {**delta, "partial_json": piece}}
            case {"type": "content_block_start" | "content_block_stop" | "message_delta"}:
                # An answer that max_tokens cuts inside a call ends without that block's stop.
                if self._renamer is not None and (left := self._renamer.finish()):
                    delta = {"type": "input_json_delta", "partial_json": left}
                    yield {"type": "content_block_delta", "index": self._index, "delta": delta}
                self._renamer = None
            case _:
                pass
        yield event
