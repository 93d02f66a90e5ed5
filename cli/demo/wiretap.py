"""Observes one exchange on both sides: OpenAI's chunks on the wire, and Claude's events from the engine."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import http

from engine import Engine, Event, Running
from engine.around import Around
from translate.turn import Turn


@dataclass(slots=True)
class Overheard:
    """The observed exchange. Times are ``time.monotonic()`` seconds."""

    began: float = 0.0
    request: http.Request | None = None
    response: http.Response | None = None
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)


class WireTap:
    """An addon that records the app's request, and each piece of the answer with its time."""

    def __init__(self, overheard: Overheard) -> None:
        self._overheard = overheard

    def request(self, flow: http.HTTPFlow) -> None:
        """Record the request."""
        self._overheard.began = time.monotonic()
        self._overheard.request = flow.request

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Begin to record the answer."""
        self._overheard.response = flow.response
        if flow.response is not None and flow.response.stream:
            flow.response.stream = self._note

    def _note(self, data: bytes) -> bytes:
        if data:
            self._overheard.chunks.append((time.monotonic(), data))
        return data


class OverheardEngine:
    """An engine that records the events of another engine as they pass."""

    def __init__(self, engine: Engine, overheard: Overheard) -> None:
        self._engine = engine
        self._overheard = overheard

    def status(self) -> dict[str, Any]:
        """Return the state of the wrapped engine."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Play the turn with the wrapped engine."""
        async with self._engine.run(turn) as running:
            yield _OverheardRunning(running, self._overheard)


class _OverheardRunning(Around):
    def __init__(self, running: Running, overheard: Overheard) -> None:
        super().__init__(running)
        self._overheard = overheard

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._running:
            self._overheard.events.append((time.monotonic(), event))
            yield event


def rows(overheard: Overheard) -> list[tuple[float, str, list[str]]]:
    """Return (milliseconds since the request, Claude's event, its ``data:`` lines for the app), in order of arrival."""
    lines = [line for _, data in overheard.chunks for line in data.decode().split("\n\n") if line]
    result: list[tuple[float, str, list[str]]] = []
    for at, event in overheard.events:
        became: list[str] = []
        if event["type"] == "message_delta":
            became, lines = lines, []
        elif lines and (event["type"] == "message_start" or event.get("delta", {}).get("text")):
            became = [lines.pop(0)]
        result.append(((at - overheard.began) * 1000, _brief(event), became))
    return result


def _brief(event: Any) -> str:
    """Write an event in a few words."""
    kind = event["type"]
    match event:
        case {"delta": {"text": text}}:
            return f"{kind} {text!r}"
        case {"delta": {"stop_reason": reason}, "usage": usage}:
            return f"{kind} stop_reason={reason} output_tokens={usage.get('output_tokens')}"
        case {"message": {"model": model}}:
            return f"{kind} model={model}"
        case _:
            return str(kind)
