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
from translate.prices import PRICES, Row, cost_of
from translate.turn import Message, Turn
from translate.usage import MessageUsage, UsageReader

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


def told_by_claude_code(*messages: MessageUsage, usd: float, basis: str = "list") -> dict[str, Any]:
    """Return the `modelUsage` of a result after these messages of one model."""
    tokens = {
        "inputTokens": sum(message.usage.get("input_tokens", 0) for message in messages),
        "outputTokens": sum(message.usage.get("output_tokens", 0) for message in messages),
    }
    return {messages[0].model: {**tokens, "costUSD": usd, "costBasis": basis}}


def test_figures_that_differ_are_told_once_for_a_model_with_both(caplog: pytest.LogCaptureFixture) -> None:
    check = CostCheck()
    for _ in range(3):
        ProcessCosts(check).result(told_by_claude_code(OPUS, usd=0.0125), [OPUS], whole=True)

    assert warnings(caplog) == [
        "Claude Code says 0.012500 USD for 1 answer of claude-opus-5-5, our price list says 0.006000 USD for the same"
        " tokens. Our price list is used. This is logged once for a model."
    ]


def test_each_model_is_compared_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    sonnet = MessageUsage("claude-sonnet-5-5", {"input_tokens": 1000})
    figures = told_by_claude_code(OPUS, usd=OPUS_USD + 0.002) | told_by_claude_code(sonnet, usd=0.0)

    ProcessCosts(CostCheck()).result(figures, [OPUS, sonnet], whole=True)

    assert [line.split(" answer of ")[1].split(",")[0] for line in warnings(caplog)] == [
        "claude-opus-5-5",
        "claude-sonnet-5-5",
    ]


def test_figures_that_agree_but_for_rounding_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    ProcessCosts(CostCheck()).result(told_by_claude_code(OPUS, OPUS, usd=2 * OPUS_USD + 1e-6), [OPUS, OPUS], whole=True)

    assert warnings(caplog) == []


def test_a_model_whose_price_is_not_known_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    check = CostCheck()
    for _ in range(2):
        ProcessCosts(check).result(
            told_by_claude_code(UNKNOWN, usd=0.5, basis="unknown") | told_by_claude_code(OPUS, usd=OPUS_USD),
            [OPUS, UNKNOWN],
            whole=True,
        )

    (told,) = warnings(caplog)
    assert "the price of claude-opus-9 is not known" in told and "0.500000 USD" in told and "another model" in told


def test_a_model_without_a_price_in_claude_code_is_not_compared(caplog: pytest.LogCaptureFixture) -> None:
    ProcessCosts(CostCheck()).result(told_by_claude_code(OPUS, usd=9.0, basis="unknown"), [OPUS], whole=True)

    assert warnings(caplog) == []


def test_each_result_is_compared_by_what_it_adds_to_the_one_before(caplog: pytest.LogCaptureFixture) -> None:
    costs = ProcessCosts(CostCheck())
    costs.result(told_by_claude_code(OPUS, usd=OPUS_USD), [OPUS], whole=True)
    costs.result(told_by_claude_code(OPUS, OPUS, usd=2 * OPUS_USD), [OPUS], whole=True)
    costs.result(told_by_claude_code(OPUS, OPUS, usd=2 * OPUS_USD), [], whole=True)
    # What broke off is not compared, and what comes after it is compared without it.
    costs.result(told_by_claude_code(OPUS, OPUS, OPUS, usd=9.0), [OPUS], whole=False)
    costs.result(told_by_claude_code(OPUS, OPUS, OPUS, OPUS, usd=9.0 + OPUS_USD), [OPUS], whole=True)

    assert warnings(caplog) == []


def test_a_result_without_a_figure_is_compared_with_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert ProcessCosts(CostCheck()).result(None, [OPUS], whole=True) == []
    assert warnings(caplog) == []


@pytest.mark.parametrize("asks_more", [False, True])
def test_extra_requests_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture, asks_more: bool) -> None:
    costs = ProcessCosts(CostCheck(), asks_more=asks_more)
    haiku = MessageUsage("claude-haiku-5-5", {"input_tokens": 300, "output_tokens": 20})
    figures = told_by_claude_code(OPUS, usd=OPUS_USD) | told_by_claude_code(haiku, usd=0.00004)

    (more,) = costs.result(figures, [OPUS], whole=True)
    assert costs.result(figures, [], whole=True) == []

    assert (more.model, more.usage["input_tokens"], more.usage["output_tokens"]) == ("claude-haiku-5-5", 300, 20)
    assert cost_of([more]) == pytest.approx(0.00004)
    # The tools of an agent do that all the time.
    assert warnings(caplog) == (
        []
        if asks_more
        else [
            "Claude Code made a request to claude-haiku-5-5 besides the answer: 300 input tokens (0 of them from"
            " the cache, 0 written to it), 20 output tokens. They are counted for the turn. This is logged once for a"
            " model."
        ]
    )


async def test_extra_requests_of_a_process_are_counted_for_the_turn(
    rehearsal: Rehearsal, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Claude Code asks for nothing else as Understudy runs it, so here most of each answer is not heard.
    feed = UsageReader.feed

    def hear_one_token(reader: UsageReader, event: dict[str, Any]) -> None:
        feed(reader, event | {"usage": {"output_tokens": 1}} if "usage" in event else event)

    monkeypatch.setattr(UsageReader, "feed", hear_one_token)
    rehearsal.script(Reply(text="one two three " * 9), Reply(text="four five six " * 9))
    told: list[MessageUsage] = []
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:
        for word in "ab":
            async with pool.run(turn(word)) as running:
                [_ async for _ in running]
            await running.ended
            told += running.messages

    assert len(told) == 4
    assert sum(message.usage["output_tokens"] for message in told) == sum(
        received.told["output_tokens"] for received in rehearsal.turns
    )


async def test_claude_code_asks_the_api_for_nothing_but_the_answers(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1, limit=1) as pool:
        for word in "abc":
            async with pool.run(turn(word, model="sonnet")) as running:
                [_ async for _ in running]
            await running.ended

    assert [(received.method, received.path) for received in rehearsal.requests] == [("POST", "/v1/messages")] * 3


def used(row: Row, **fields: Any) -> dict[str, Any]:
    """Return a usage with tokens of every kind, whose prompt is long where a long one has a price of its own."""
    fresh = 10_000 if row.long is None else row.long.tokens
    written = {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000}
    return {"input_tokens": fresh, "cache_read_input_tokens": 20_000, "cache_creation": written, **fields}


KINDS: list[dict[str, Any]] = [{}, {"inference_geo": "us"}, {"speed": "fast"}]
NO_FIGURE = {"claude-3-opus", "claude-3-haiku"}
"""Claude Code does not know these prices, and takes those of another model."""
SENT_TO_ANOTHER = {"claude-opus-4-1": "claude-opus-5-5"}
"""Claude Code asks a newer model instead of these."""
NO_LONG_PROMPTS = {"claude-sonnet-4-5"}
"""Claude Code does not know the published price of their long prompts."""


async def test_the_price_list_agrees_with_claude_codes_for_every_model_and_kind_of_token(
    rehearsal: Rehearsal, spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    told: dict[str, str] = {}
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:
        for row in PRICES:
            for kind in KINDS:
                rehearsal.script(Reply(text="x", usage=used(row, **kind)))
                async with pool.run(turn("a", model=row.model)) as running:
                    [_ async for _ in running]
                await running.ended
                assert running.messages[0].model == SENT_TO_ANOTHER.get(row.model, row.model)
                told |= dict.fromkeys([row.model] if warnings(caplog) else [], "".join(warnings(caplog)))
                caplog.clear()

    assert told.keys() == NO_LONG_PROMPTS
    assert all("does not have the published price for long prompts of this model" in line for line in told.values())


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
    monkeypatch.setattr("engine.cost_check.cost_of", lambda messages, **how: 3 * (cost_of(messages) or 0.0))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:
        async with pool.run(turn("a " * 400)) as running:
            [_ async for _ in running]
        await running.ended
        usd = cost_of(running.messages) or 0.0
        async with pool.run(turn("b " * 400)) as running:
            [_ async for _ in running]
        await running.ended

    assert warnings(caplog) == [
        f"Claude Code says {usd:.6f} USD for 1 answer of claude-haiku-5-5, our price list says {3 * usd:.6f} USD for"
        " the same tokens. Our price list is used. This is logged once for a model."
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
