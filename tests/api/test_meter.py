"""What was used is known of every turn of a request, however it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.meter import MOST_NAMES, Meter, Totals
from engine import ClaudeError, Event, Outcome
from tests.api.scripted import END, START, Scripted, text
from translate.turn import Message, Turn
from translate.usage import MessageUsage, UsageReader

pytestmark = pytest.mark.anyio

HELLO = Turn("haiku", (Message("user", ({"type": "text", "text": "Hello"},)),))
USED = MessageUsage("claude-opus-5-5", {"input_tokens": 5, "output_tokens": 2})


async def test_every_turn_tells_what_it_used() -> None:
    meter = Meter(Scripted([START, *text("a"), END], [START, *text("b"), END]))
    for _ in range(2):
        async with meter.run(HELLO) as running:
            [_ async for _ in running]

    assert await meter.messages() == [USED, USED]


async def test_a_turn_that_broke_off_used_what_was_told_up_to_then() -> None:
    meter = Meter(Scripted([START, *text("a"), ClaudeError("stream_error")]))
    with pytest.raises(ClaudeError):
        async with meter.run(HELLO) as running:
            [_ async for _ in running]

    assert await meter.messages() == [MessageUsage("claude-opus-5-5", {"input_tokens": 5})]


async def test_a_turn_that_failed_before_it_began_used_nothing() -> None:
    meter = Meter(Scripted([ClaudeError("overloaded_error")]))
    with pytest.raises(ClaudeError):
        async with meter.run(HELLO) as running:
            [_ async for _ in running]

    assert await meter.messages() == []


class Settling:
    """An engine whose turns are at rest only some time after they were left."""

    def __init__(self) -> None:
        self.told = UsageReader()
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.process, self.backlog, self.retries, self.complete = "warm", 0, 0, False

    @property
    def messages(self) -> list[MessageUsage]:
        return self.told.messages

    @property
    def ended(self) -> asyncio.Future[Outcome]:
        return self.outcome

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Any]:
        yield self

    async def __aiter__(self) -> AsyncIterator[Event]:
        yield START
        self.complete = True

    def status(self) -> dict[str, Any]:
        return {}


async def test_a_whole_answer_is_billed_without_waiting_for_its_process() -> None:
    engine = Settling()
    meter = Meter(engine)
    async with meter.run(HELLO) as running:
        [_ async for _ in running]
        engine.told.feed(START)

    assert len(await meter.messages()) == 1
    assert not engine.outcome.done()


async def test_the_usage_of_a_cancelled_turn_is_billed() -> None:
    engine = Settling()
    meter = Meter(engine)
    async with meter.run(HELLO):
        pass
    asking = asyncio.ensure_future(meter.messages())
    await asyncio.sleep(0)
    assert not asking.done()
    engine.told.feed(START)
    engine.outcome.set_result(Outcome("cancelled", "warm"))

    assert await asking == [MessageUsage("claude-opus-5-5", {"input_tokens": 5})]


async def test_totals_are_those_of_all_requests() -> None:
    totals = Totals()
    totals.add([USED, USED])
    totals.add([])
    totals.add([MessageUsage("claude-opus-9", {"input_tokens": 1, "cache_read_input_tokens": 6, "output_tokens": 1})])

    assert totals.status() == {
        "requests": 3,
        "input_tokens": 17,
        "cached_tokens": 6,
        "cache_write_tokens": 0,
        "output_tokens": 5,
        "web_searches": 0,
        "usd": 0.00012,
        "requests_unpriced": 1,
    }


def test_totals_are_kept_by_the_name_that_was_asked_for_and_who_answered() -> None:
    totals = Totals()
    totals.add([USED], "gpt-5")
    totals.add([USED, USED], "gpt-5")
    totals.add([MessageUsage("claude-haiku-5-5-20261001", {"input_tokens": 7})], "gpt-5-nano")
    totals.add([], "gpt-5")  # Claude never began to answer

    names = [(use.asked, use.model, use.requests, use.total.input) for use in totals.names()]
    assert names == [("gpt-5", "claude-opus-5-5", 2, 15), ("gpt-5-nano", "claude-haiku-5-5", 1, 7)]
    assert totals.total.input == 22
    assert sum(use.total.cost_usd for use in totals.names()) == pytest.approx(totals.total.cost_usd)


def test_an_app_with_endless_names_takes_no_endless_memory() -> None:
    totals = Totals()
    for number in range(MOST_NAMES + 5):
        totals.add([USED], f"name-{number}")

    totals.add([USED], "name-0")

    assert len(totals.names()) == MOST_NAMES + 1
    assert totals.names()[0].requests == 2
    assert totals.names()[-1].requests == 5
