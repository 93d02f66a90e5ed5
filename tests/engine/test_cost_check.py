"""Our price list and Claude Code's own figures are compared, and a difference is told once."""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import pytest

from engine import ClaudeError
from engine.cost_check import CostCheck, ProcessCosts
from engine.pool import Pool
from engine.sdk import Spawn
from rehearsal import Reply
from rehearsal.reply import Fault, FaultKind, ToolCall
from rehearsal.server import Rehearsal
from translate.prices import cost_of
from translate.turn import Message, Turn
from translate.usage import MessageUsage

pytestmark = pytest.mark.anyio

GUARD_S = 60
OPUS = MessageUsage("claude-opus-5-5", {"input_tokens": 1000, "output_tokens": 100})
OPUS_USD = 0.006
UNKNOWN = MessageUsage("claude-opus-9", {"input_tokens": 1000})
TOOL: dict[str, Any] = {"name": "weather", "description": "", "input_schema": {"type": "object"}}


@pytest.fixture(autouse=True)
def all_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engine.cost_check")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "engine.cost_check"]


def turn(*words: str, **fields: Any) -> Turn:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], ({"type": "text", "text": word},)) for n, word in enumerate(words))  # type: ignore[arg-type]
    return Turn(**{"model": "haiku", "messages": messages, "system": "SYSTEM", **fields})


def test_figures_that_differ_are_told_once_for_a_model_with_both(caplog: pytest.LogCaptureFixture) -> None:
    check = CostCheck()
    for _ in range(3):
        check.compare([OPUS], 0.0125)

    assert warnings(caplog) == [
        "Claude Code says that 1 answer of claude-opus-5-5 cost 0.012500 USD, our price list says 0.006000 USD;"
        " the price list counts. This is said once for a model."
    ]


def test_figures_that_agree_but_for_rounding_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    CostCheck().compare([OPUS, OPUS], 2 * OPUS_USD + 1e-6)
    CostCheck().compare([], 0.5)

    assert warnings(caplog) == []


def test_a_model_whose_price_is_not_known_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    check = CostCheck()
    for _ in range(2):
        check.compare([OPUS, UNKNOWN], 0.5)

    (told,) = warnings(caplog)
    assert "the price of claude-opus-9 is not known" in told and "0.500000 USD" in told


def test_each_result_is_compared_by_what_it_adds_to_the_one_before(caplog: pytest.LogCaptureFixture) -> None:
    costs = ProcessCosts(CostCheck())
    costs.result(OPUS_USD, [OPUS], whole=True)
    costs.result(2 * OPUS_USD, [OPUS], whole=True)
    costs.result(2 * OPUS_USD, [], whole=True)
    # What broke off is not compared, and what comes after it is compared without it.
    costs.result(9.0, [OPUS], whole=False)
    costs.result(9.0 + OPUS_USD, [OPUS], whole=True)

    assert warnings(caplog) == []


def test_a_result_without_a_figure_is_compared_with_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ProcessCosts(CostCheck()).result(None, [OPUS], whole=True)

    assert warnings(caplog) == []


async def test_turns_of_one_process_are_compared_each_with_its_own_figure(
    rehearsal: Rehearsal, spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    rehearsal.script(Reply(text="one"), Reply(tool_calls=(ToolCall("weather"),)), Reply(text="three " * 50))
    turns = [turn("a"), turn("b", tools=(TOOL,)), turn("c")]
    told: list[MessageUsage] = []
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:
        for wanted in turns:
            async with pool.run(wanted) as running:
                [_ async for _ in running]
            told += running.messages
            await running.ended
        assert len({process.pid for process in pool.idle}) == 1
        assert pool.idle[0].turns == len(turns)

    # Each turn has the counts that the API told of it, and no figure of Claude Code's differed from their price.
    assert [message.usage for message in told] == [received.told for received in rehearsal.turns]
    assert warnings(caplog) == []


async def test_a_figure_of_the_real_claude_code_that_differs_is_told_once(
    rehearsal: Rehearsal, spawn: Spawn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cost_check.cost_of", lambda messages: 3 * (cost_of(messages) or 0.0))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:
        async with pool.run(turn("a " * 400)) as running:
            [_ async for _ in running]
        await running.ended
        usd = cost_of(running.messages) or 0.0
        async with pool.run(turn("b " * 400)) as running:
            [_ async for _ in running]
        await running.ended

    assert warnings(caplog) == [
        f"Claude Code says that 1 answer of claude-haiku-5-5 cost {usd:.6f} USD, our price list says {3 * usd:.6f} USD;"
        " the price list counts. This is said once for a model."
    ]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(text="a b c d e f", stop_reason="max_tokens"), id="cut at its stop reason"),
        pytest.param(Reply(stop_reason="refusal"), id="refused"),
        pytest.param(Reply(tool_calls=(ToolCall("weather"),)), id="a tool call"),
    ],
)
async def test_a_turn_without_a_result_tells_what_it_used(rehearsal: Rehearsal, spawn: Spawn, reply: Reply) -> None:
    rehearsal.script(reply)
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("a", tools=(TOOL,))) as running:
            [_ async for _ in running]

        assert running.complete
        assert [message.usage for message in running.messages] == [received.told for received in rehearsal.turns]


async def test_a_turn_that_was_left_tells_what_had_come(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="one two three", stall_after=2))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("a")) as running, aclosing(running.__aiter__()) as events:
            await anext(events)
        await running.ended

    (received,) = rehearsal.turns
    assert not running.complete
    assert [message.usage for message in running.messages] == [received.told]
    assert received.told["output_tokens"] == 1


async def test_a_turn_that_broke_off_tells_what_had_come(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="one two three", fault=Fault(FaultKind.SSE_ERROR, after=2)))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        with pytest.raises(ClaudeError):
            async with pool.run(turn("a")) as running:
                [_ async for _ in running]
        await running.ended

    assert [message.usage for message in running.messages] == [received.told for received in rehearsal.turns]
