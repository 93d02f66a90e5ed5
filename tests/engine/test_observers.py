from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine import Event, Running
from engine.around import Around
from engine.observers import Observers
from translate.turn import Turn

pytestmark = pytest.mark.anyio


class FakeRunning(Around):
    def __init__(self) -> None:
        self.told = [{"type": "a"}, {"type": "b"}]

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self.told:
            yield event


class FakeEngine:
    def status(self) -> dict[str, Any]:
        return {"of": "the engine"}

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        yield FakeRunning()


class Note:
    def __init__(self) -> None:
        self.heard: list[tuple[int, str]] = []

    def begin(self) -> None:
        self.heard.append((-1, "begin"))

    def end(self) -> None:
        self.heard.append((-1, "end"))

    def turn(self, of: int, turn: Turn, running: Running) -> None:
        self.heard.append((of, turn.model))

    def event(self, of: int, event: Event) -> None:
        self.heard.append((of, event["type"]))


async def play(engine: Any, model: str) -> list[Event]:
    async with engine.run(Turn(model=model, messages=())) as running:
        return [event async for event in running]


async def test_every_observer_gets_all_turns_and_events_of_its_flow() -> None:
    observers, one, two = Observers(), Note(), Note()
    observers.add("flow-1", one)
    observers.add("flow-1", two)

    with observers.around(FakeEngine(), "flow-1") as engine:
        told = await play(engine, "opus"), await play(engine, "haiku")

    assert [len(events) for events in told] == [2, 2]
    turns = [(0, "opus"), (0, "a"), (0, "b"), (1, "haiku"), (1, "a"), (1, "b")]
    assert one.heard == two.heard == [(-1, "begin"), *turns, (-1, "end")]
    assert engine.status() == {"of": "the engine"}


async def test_an_engine_that_nobody_listens_to_stays_itself() -> None:
    observers, engine = Observers(), FakeEngine()
    observers.add("flow-1", Note())
    observers.forget("flow-1")
    for flow in ("flow-1", None):
        with observers.around(engine, flow) as same:
            assert same is engine
