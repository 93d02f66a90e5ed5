"""Observers of Claude's side of a request: of the Turns that are made of it, and of Claude's events.

mitmproxy's addons see only the app's side of an exchange. They send the flow's id with each request, and the API server
finds the observers of the request by this id.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, Protocol

from engine import Engine, Event, Running
from engine.around import Around
from translate.turn import Turn

FLOW_HEADER = "x-understudy-flow"
"""The request header with the flow's id."""


class Observer(Protocol):
    """An observer of one request."""

    def begin(self) -> None:
        """Called when Claude begins to answer the request. Turns follow, unless the request is refused."""

    def end(self) -> None:
        """Called when no more turns will follow. For a background response this can be long after the app's answer."""

    def turn(self, of: int, turn: Turn, running: Running) -> None:
        """Called when a turn begins. ``of`` is its number in the request, from 0."""

    def event(self, of: int, event: Event) -> None:
        """Called for each event of that turn."""


class SocketMessage(NamedTuple):
    """What a message on a WebSocket is, so that nobody has to parse it again.

    It is an event of type ``event`` and belongs to the answer to the app's ``number``-th message, counted from 0.
    ``suffix`` is the JSON that the message has beyond the event, before the last brace: the app's ``stream_id``, and
    headers of the answer. It is empty if there is nothing.
    """

    number: int
    event: str
    suffix: bytes = b""


class Observers:
    """The observers of each flow."""

    def __init__(self) -> None:
        self._witnesses: dict[str, list[Observer]] = {}
        self._said: dict[str, deque[SocketMessage]] = {}

    def add(self, flow_id: str, observer: Observer) -> None:
        """Add an observer to a flow."""
        self._witnesses.setdefault(flow_id, []).append(observer)

    def forget(self, flow_id: str) -> None:
        """Remove the observers of a flow."""
        self._witnesses.pop(flow_id, None)

    def follow(self, flow_id: str) -> None:
        """Begin to note what each message on a flow's WebSocket is."""
        self._said[flow_id] = deque()

    def leave(self, flow_id: str) -> None:
        """Stop noting it."""
        self._said.pop(flow_id, None)

    def say(self, flow_id: str | None, message: SocketMessage) -> None:
        """Note what the next message on a flow's WebSocket is."""
        if (said := self._said.get(flow_id or "")) is not None:
            said.append(message)

    def said(self, flow_id: str) -> SocketMessage | None:
        """Return what the next message on a flow's WebSocket is. Messages arrive in the order they were sent in."""
        said = self._said.get(flow_id)
        return said.popleft() if said else None

    @contextmanager
    def around(self, engine: Engine, flow_id: str | None) -> Iterator[Engine]:
        """Yield an engine that calls the observers of this flow; the engine itself if there are none."""
        found = tuple(self._witnesses.get(flow_id or "", ()))
        if not found:
            yield engine
            return
        for observer in found:
            observer.begin()
        try:
            yield Observed(engine, found)
        finally:
            for observer in found:
                observer.end()


class Observed:
    """An engine that calls observers."""

    def __init__(self, engine: Engine, observers: tuple[Observer, ...]) -> None:
        self._engine = engine
        self._witnesses = observers
        self._turns = 0

    def status(self) -> dict[str, Any]:
        """Return the state of the wrapped engine."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Play a turn on the wrapped engine."""
        of = self._turns
        self._turns += 1
        async with self._engine.run(turn) as running:
            for observer in self._witnesses:
                observer.turn(of, turn, running)
            yield _Overheard(running, of, self._witnesses)


class _Overheard(Around):
    def __init__(self, running: Running, of: int, observers: tuple[Observer, ...]) -> None:
        super().__init__(running)
        self._of = of
        self._witnesses = observers

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._running:
            for observer in self._witnesses:
                observer.event(self._of, event)
            yield event
