"""Several choices are several turns, interleaved as they come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.choices import MOST_AT_ONCE, Choices
from engine import ClaudeError
from tests.api.scripted import END, START, Scripted, text
from translate.chat.stream import ChatCompletionStream
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

TURN = Turn(model="haiku", messages=(Message("user", ({"type": "text", "text": "Hi"},)),))


def streams(count: int) -> list[ChatCompletionStream]:
    return [
        ChatCompletionStream(id="c", created=1, model="m", include_usage=True, index=index) for index in range(count)
    ]


async def test_chunks_interleave_with_their_own_index_and_usage_is_added_up() -> None:
    first_told = asyncio.Event()
    engine = Scripted([START, *text("a"), first_told, END], [START, *text("b"), END])
    choices = Choices(engine, TURN, streams(2))

    told: list[tuple[int, str]] = []
    usages = []
    async for chunks in choices.chunks():
        for chunk in chunks:
            told += [(choice.index, choice.finish_reason or "") for choice in chunk.choices]
            usages += [chunk.usage] if not chunk.choices else []
        if (1, "stop") in told:
            first_told.set()

    assert told.index((1, "stop")) < told.index((0, "stop"))
    assert [usage.total_tokens for usage in usages if usage] == [14]
    assert choices.processes == ["warm", "warm"]


@pytest.mark.parametrize("error", [ClaudeError("overloaded_error"), RuntimeError("a defect")])
async def test_if_one_choice_fails_all_are_ended(error: Exception) -> None:
    engine = Scripted([START, asyncio.Event()], [START, error])

    with pytest.raises(type(error)) as caught:
        async with asyncio.timeout(20):
            [chunks async for chunks in Choices(engine, TURN, streams(2)).chunks()]

    assert caught.value is error
    assert engine.left == 2


class Narrow(Scripted):
    """An engine with a number of places and no queue. ``most`` is how many turns asked it at once."""

    def __init__(self, places: int, count: int) -> None:
        super().__init__(*([START, *text("a"), END] for _ in range(count)))
        self._places = places
        self._asking = self.most = 0

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Any]:
        self._asking += 1
        self.most = max(self.most, self._asking)
        try:
            await asyncio.sleep(0)
            if self._asking > self._places:
                raise ClaudeError("queue_full")
            async with super().run(turn) as running:
                yield running
        finally:
            self._asking -= 1


async def finish_reasons(engine: Scripted, count: int) -> list[int]:
    """Return the indexes of the choices that have ended."""
    async with asyncio.timeout(20):
        told = [chunk async for chunks in Choices(engine, TURN, streams(count)).chunks() for chunk in chunks]
    return sorted(choice.index for chunk in told for choice in chunk.choices if choice.finish_reason)


@pytest.mark.parametrize("places", [1, 3, 128])
async def test_many_choices_wait_for_each_other_if_there_is_no_place_for_all(places: int) -> None:
    engine = Narrow(places, 128)

    assert await finish_reasons(engine, 128) == list(range(128))
    assert engine.most == MOST_AT_ONCE


async def test_choices_that_find_no_place_at_all_fail() -> None:
    with pytest.raises(ClaudeError, match="queue_full"):
        await finish_reasons(Narrow(0, 3), 3)
