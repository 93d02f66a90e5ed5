"""The engine below sees names that Claude's API accepts; the app sees its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine import ClaudeError, Event
from engine.renaming import CallsRenamedBack, Renaming
from tests.engine.test_retry import Playing
from translate.property_names import names_of, reversed_names
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"filter[id]": {"type": "string"}}}
NEW = names_of(SCHEMA)["filter[id]"]
BACK = {"f": reversed_names(names_of(SCHEMA))}
ASKED = Message("user", ({"type": "text", "text": "Hello"},))
STOP: Event = {"type": "content_block_stop", "index": 0}
END: Event = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}


def start(name: str = "f", **fields: Any) -> Event:
    block = {"type": "tool_use", "id": "1", "name": name, "input": {}, **fields}
    return {"type": "content_block_start", "index": 0, "content_block": block}


def piece(text: str) -> Event:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}


class Noting:
    """Notes the turns, and plays the same events for each."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.turns: list[Turn] = []

    def status(self) -> dict[str, Any]:
        return {"turns": len(self.turns)}

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Playing]:
        self.turns.append(turn)
        yield Playing(self.events, "warm")


async def play(engine: Renaming, turn: Turn) -> list[Event]:
    async with engine.run(turn) as running:
        return [event async for event in running]


async def test_the_engine_gets_claudes_names_and_the_app_its_own() -> None:
    call = {"type": "tool_use", "id": "0", "name": "f", "input": {"filter[id]": "1"}}
    result = {"type": "tool_result", "tool_use_id": "0", "content": "filter[id]"}
    history = (ASKED, Message("assistant", (call,)), Message("user", (result,)))
    below = Noting(start(), piece('{"' + NEW[:3]), piece(NEW[3:] + '": "'), piece('2"}'), STOP)
    engine = Renaming(below)

    events = await play(engine, Turn("haiku", history, tools=({"name": "f", "input_schema": SCHEMA},)))

    assert events == [start(), piece("{"), piece('"filter[id]": "'), piece('2"}'), STOP]
    (turn,) = below.turns
    assert list(turn.tools[0]["input_schema"]["properties"]) == [NEW]
    assert turn.messages[1].content[0]["input"] == {NEW: "1"}
    assert turn.messages[2] == history[2]
    assert engine.status() == {"turns": 1}


async def test_a_turn_whose_names_are_accepted_is_passed_on_as_it_is() -> None:
    below = Noting(start())
    turn = Turn("haiku", (ASKED,), tools=({"name": "f", "input_schema": {"type": "object"}}, {"name": "web_search"}))

    assert await play(Renaming(below), turn) == [start()]
    assert below.turns[0] is turn


async def test_a_schema_that_is_nested_too_deeply_is_an_error_of_the_request() -> None:
    schema: dict[str, Any] = SCHEMA
    for _ in range(20_000):
        schema = {"type": "object", "properties": {"a": schema}}

    with pytest.raises(ClaudeError) as caught:
        await play(Renaming(Noting()), Turn("haiku", (ASKED,), tools=({"name": "f", "input_schema": schema},)))

    assert (caught.value.kind, "too deeply" in str(caught.value.reason)) == ("invalid_request_error", True)


def renamed(*events: Event) -> list[Event]:
    calls = CallsRenamedBack(BACK)
    return [told for event in events for told in calls.feed(event)]


@pytest.mark.parametrize("end", [STOP, END])
def test_a_call_that_breaks_off_within_a_key_loses_nothing(end: Event) -> None:
    assert renamed(start(), piece('{"fil'), end) == [start(), piece("{"), piece('"fil'), end]


def test_the_input_of_a_blocks_start_is_renamed_too() -> None:
    assert renamed(start(input={NEW: 1})) == [start(input={"filter[id]": 1})]


def test_other_tools_and_other_blocks_stay() -> None:
    text: Event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": NEW}}
    events = [text, start("g"), piece(f'{{"{NEW}": 1}}'), STOP, text]

    assert renamed(*events) == events
