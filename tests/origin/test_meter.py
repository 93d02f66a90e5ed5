"""What was used is added up over every turn of a request."""

import pytest

from engine import ClaudeError
from origin.meter import Meter
from tests.origin.scripted import END, START, Scripted, text
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

HELLO = Turn("haiku", (Message("user", ({"type": "text", "text": "Hello"},)),))


async def test_tokens_and_dollars_of_all_turns_are_added_up() -> None:
    meter = Meter(Scripted([START, *text("a"), END], [START, *text("b"), END]))
    for _ in range(2):
        async with meter.run(HELLO) as running:
            [_ async for _ in running]

    assert await meter.bill() == (14, 0.5, False)


async def test_a_turn_that_failed_before_it_began_costs_nothing() -> None:
    meter = Meter(Scripted([ClaudeError("overloaded_error")]))
    with pytest.raises(ClaudeError):
        async with meter.run(HELLO) as running:
            [_ async for _ in running]

    assert await meter.bill() == (0, 0.0, False)


async def test_nothing_asked_nothing_to_pay() -> None:
    assert await Meter(Scripted()).bill() == (0, 0.0, False)
