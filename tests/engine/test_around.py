"""What is around a turn tells what the turn tells."""

import pytest

from engine.around import Around
from tests.api.scripted import END, START, Scripted, text
from translate.turn import Message, Turn
from translate.usage import MessageUsage

pytestmark = pytest.mark.anyio


async def test_everything_is_passed_on() -> None:
    events = [START, *text("a"), END]
    turn = Turn("haiku", (Message("user", ({"type": "text", "text": "Hello"},)),))

    async with Scripted(events).run(turn) as running:
        around = Around(running)
        heard = [event async for event in around]

    assert heard == events
    assert (around.process, around.backlog, around.retries) == ("warm", 0, 0)
    assert (await around.ended).how == "finished"
    assert around.complete
    assert around.messages == [MessageUsage("claude-opus-5-5", {"input_tokens": 5, "output_tokens": 2})]
