"""An agent on the real Claude Code: what it may do, what it may not, and how that is told."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import ClaudeError, Running
from engine.agent_engine import AgentEngine
from engine.agents import Agent
from engine.sdk import Spawn
from rehearsal import Reply
from rehearsal.reply import ToolCall
from rehearsal.server import Rehearsal
from tests.engine.test_watchdog import GUARD_S, ended
from translate.prices import cost, cost_of, web_searches
from translate.turn import Message, Turn
from translate.usage import COUNTED, MessageUsage

pytestmark = pytest.mark.anyio

FILE = "the words of the file"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The agent's folder, with a file in it and another beside it."""
    folder = (tmp_path / "project").resolve()
    folder.mkdir()
    (folder / "a.txt").write_text(FILE)
    (tmp_path / "secret.txt").write_text("the words of another file")
    return folder


def ask(*texts: str, **more: Any) -> Turn:
    messages = [
        Message("assistant" if n % 2 else "user", ({"type": "text", "text": text},)) for n, text in enumerate(texts)
    ]
    return Turn(model="sonnet", messages=messages, **more)


@asynccontextmanager
async def engine_of(agent: Agent, spawn: Spawn) -> AsyncIterator[AgentEngine]:
    async with AgentEngine(agent, spawn, limit=2, max_waiting=2, wait_s=30, timeout_s=60) as engine:
        yield engine


async def play(agent: Agent, spawn: Spawn, turn: Turn) -> tuple[list[Any], list[MessageUsage]]:
    async with engine_of(agent, spawn) as engine, engine.run(turn) as running:
        events = [event async for event in running]
        return events, list(running.messages)


def call(tool: str, **given: str) -> Reply:
    return Reply(text=f"I use {tool}.", tool_calls=(ToolCall(tool, input_json=json.dumps(given)),))


def result_of(body: Mapping[str, Any]) -> str:
    """Return what the tool had brought, as the API is told of it."""
    (block,) = [block for block in body["messages"][-1]["content"] if block["type"] == "tool_result"]
    return json.dumps(block["content"])


def text_of(events: list[Any]) -> str:
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta["text"] for delta in deltas if delta["type"] == "text_delta")


def thoughts_of(events: list[Any]) -> str:
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta["thinking"] for delta in deltas if delta["type"] == "thinking_delta")


async def test_an_agent_reads_in_its_folder_and_its_steps_are_one_answer(
    rehearsal: Rehearsal, spawn: Spawn, folder: Path
) -> None:
    rehearsal.script(call("Read", file_path=str(folder / "a.txt")), Reply(text="It says words."))
    agent = Agent("review", cwd=folder, tools=("Read", "Grep"))

    events, told = await play(agent, spawn, ask("What is in a.txt?", system="Be brief."))

    first, second = rehearsal.turns
    assert {tool["name"] for tool in first.body["tools"]} == {"Read", "Grep"}
    assert FILE in result_of(second.body)
    assert text_of(events) == "I use Read.\n\nIt says words."
    assert thoughts_of(events) == f"Read(file_path: {folder / 'a.txt'})\n"
    assert [event["type"] for event in events].count("message_start") == 1
    assert events[-1]["delta"]["stop_reason"] == "end_turn"
    counted = [turn.body for turn in rehearsal.turns]
    assert len(counted) == 2 and events[-1]["usage"]["output_tokens"] > 0
    assert [message.usage for message in told] == [received.told for received in rehearsal.turns]


async def test_what_its_tools_asked_the_api_for_is_counted_too(
    rehearsal: Rehearsal, spawn: Spawn, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rehearsal.script(call("WebSearch", query="the news"), Reply(text="Found.", search="the news"), Reply(text="Done."))
    agent = Agent("news", cwd=folder, tools=("WebSearch",), allow=("WebSearch",))

    events, told = await play(agent, spawn, ask("What is new?"))

    sent = [received.told for received in rehearsal.turns]
    assert len(sent) == 3 and sent[1]["server_tool_use"] == {"web_search_requests": 1}
    for name in COUNTED:
        assert sum(message.usage[name] for message in told) == sum(usage[name] for usage in sent)
        assert events[-1]["usage"][name] == sum(usage[name] for usage in sent)
    assert sum(web_searches(message.usage) for message in told) == 1
    assert cost_of(told) == pytest.approx(sum(cost("sonnet", usage) or 0 for usage in sent), abs=1e-9)
    assert [record for record in caplog.records if record.name == "engine.cost_check"] == []


async def test_a_run_that_is_left_has_used_what_every_message_told(
    rehearsal: Rehearsal, spawn: Spawn, folder: Path
) -> None:
    rehearsal.script(call("Read", file_path=str(folder / "a.txt")), Reply(text="one two three", stall_after=1))
    agent = Agent("review", cwd=folder, tools=("Read",))
    async with engine_of(agent, spawn) as engine:
        async with engine.run(ask("Read a.txt.")) as running:
            async for _ in running:
                if len(rehearsal.turns) == 2 and rehearsal.turns[1].sent:
                    break
        await running.ended

    assert not running.complete
    assert [message.usage for message in running.messages] == [received.told for received in rehearsal.turns]


async def test_an_agent_cannot_read_outside_its_folder(
    rehearsal: Rehearsal, spawn: Spawn, folder: Path, tmp_path: Path
) -> None:
    rehearsal.script(call("Read", file_path=str(tmp_path / "secret.txt")), Reply(text="I may not."))
    await play(Agent("review", cwd=folder, tools=("Read",)), spawn, ask("Read it."))
    assert "the words of another file" not in result_of(rehearsal.turns[1].body)


@pytest.mark.parametrize(
    ("tool", "given"),
    [("Write", {"file_path": "b.txt", "content": "x"}), ("Bash", {"command": "touch b.txt", "description": "x"})],
)
async def test_a_tool_that_it_has_does_nothing_without_a_rule(
    tool: str, given: dict[str, str], rehearsal: Rehearsal, spawn: Spawn, folder: Path
) -> None:
    if "file_path" in given:
        given = {**given, "file_path": str(folder / "b.txt")}
    rehearsal.script(call(tool, **given), Reply(text="I may not."))
    agent = Agent("review", cwd=folder, tools=("Read", tool), sandbox=False)
    await play(agent, spawn, ask("Do it."))
    assert not (folder / "b.txt").exists()


async def test_a_tool_that_it_has_not_is_not_there(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(call("Write", file_path=str(folder / "b.txt"), content="x"), Reply(text="There is none."))
    await play(Agent("review", cwd=folder, tools=("Read",)), spawn, ask("Write it."))
    assert not (folder / "b.txt").exists()
    assert "No such tool" in result_of(rehearsal.turns[1].body)


async def test_a_rule_lets_it_write_where_the_rule_says(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(
        call("Write", file_path=str(folder / "out" / "b.txt"), content="x"),
        call("Write", file_path=str(folder / "c.txt"), content="x"),
        Reply(text="Done."),
    )
    await play(Agent("writer", cwd=folder, tools=("Write",), allow=("Edit(out/**)",)), spawn, ask("Write."))
    assert (folder / "out" / "b.txt").read_text() == "x"
    assert not (folder / "c.txt").exists()


async def test_what_it_does_can_be_kept_from_the_app(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(call("Read", file_path=str(folder / "a.txt")), Reply(text="Done."))
    events, _ = await play(Agent("quiet", cwd=folder, tools=("Read",), show=False), spawn, ask("Read."))
    assert thoughts_of(events) == ""


async def test_an_agent_gets_the_earlier_messages(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(Reply(text="Three."))
    await play(Agent("review", cwd=folder, tools=("Read",)), spawn, ask("One", "Two", "And?"))
    said = [(message["role"], json.dumps(message["content"])) for message in rehearsal.turns[0].body["messages"]]
    assert [role for role, _ in said][:3] == ["user", "assistant", "user"]
    assert all(text in told for text, (_, told) in zip(("One", "Two", "And?"), said, strict=False))


async def test_an_agent_stops_after_max_turns(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(*[call("Read", file_path=str(folder / "a.txt"))] * 5)
    agent = Agent("review", cwd=folder, tools=("Read",), max_turns=2)
    events, _ = await play(agent, spawn, ask("Read for ever."))
    assert len(rehearsal.turns) == 2
    assert events[-1]["delta"]["stop_reason"] == "end_turn"


async def test_a_refusal_of_the_api_is_an_error(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(Reply.error(400, message="no"))
    with pytest.raises(ClaudeError) as error:
        await play(Agent("review", cwd=folder, tools=("Read",)), spawn, ask("Hello"))
    assert error.value.kind == "invalid_request_error"


async def test_leaving_early_ends_the_process(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(Reply(text="one two three four", delay_s=0.05))
    async with engine_of(Agent("review", cwd=folder, tools=("Read",)), spawn) as engine:
        async with engine.run(ask("Count.")) as running:
            async for _ in running:
                break
        assert engine.status() == {"running": 0, "waiting": 0}
        assert (await running.ended).how == "cancelled"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no way to wait for another's process")
async def test_leaving_early_ends_the_command_that_runs(rehearsal: Rehearsal, spawn: Spawn, folder: Path) -> None:
    rehearsal.script(call("Bash", command="echo $$ > started && exec sleep 600"))
    agent = Agent("shell", cwd=folder, tools=("Bash",), allow=("Bash",), sandbox=False)

    async with asyncio.timeout(GUARD_S), engine_of(agent, spawn) as engine:
        async with engine.run(ask("Sleep.")) as running:
            reading = asyncio.create_task(drain(running))
            while not (started := folder / "started").exists() or not started.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            command = int(started.read_text())
            reading.cancel()
        await ended(command)


async def drain(running: Running) -> None:
    async for _ in running:
        pass
