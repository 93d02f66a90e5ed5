"""Several choices are several turns, interleaved as they come."""

import asyncio

import pytest

from api.choices import Choices
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
