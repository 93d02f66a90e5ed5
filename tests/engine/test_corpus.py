"""Recorded streams of Anthropic's, played to the real CLI: what the engine yields is what was recorded."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.pool import Pool
from engine.sdk import Spawn
from rehearsal.reply import Reply
from rehearsal.server import Rehearsal
from tests.engine.test_facts import GUARD_S, turn
from tests.translate.test_corpus_tools import MESSAGES, answered, events_of_sse, first_message, load

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not MESSAGES.exists(), reason=f"the shared corpus is not at {MESSAGES.parent}"),
]


def streams() -> dict[str, str]:
    """Return the recorded streams that end well, by name.

    Without those of the MCP connector, which a Turn cannot ask for: the CLI cannot read their blocks and asks again.
    """
    found = {}
    for path in sorted(MESSAGES.glob("*.json")) if MESSAGES.exists() else []:
        sse = load(path).get("sse")
        if sse and "mcp_tool_use" not in sse and not any(event["type"] == "error" for event in events_of_sse(sse)):
            found[path.stem] = sse
    return found


def tools_of(events: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return declarations of the tools that a recording calls."""
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    names = dict.fromkeys(block["name"] for block in starts if block["type"] == "tool_use")
    return tuple({"name": name, "input_schema": {"type": "object"}} for name in names)


async def test_every_recorded_stream_passes_the_cli_unchanged(rehearsal: Rehearsal, spawn: Spawn) -> None:
    different = []
    async with Pool(spawn, spare=1) as pool:
        for name, sse in streams().items():
            recorded = first_message(events_of_sse(sse))
            rehearsal.reset()
            rehearsal.script(Reply.recorded(sse))
            wanted = turn("Go on.", model="claude-sonnet-4-5", tools=tools_of(recorded))
            async with asyncio.timeout(GUARD_S), pool.run(wanted) as running:
                events = [dict(event) async for event in running]
            if answered(events) != answered(recorded) or len(rehearsal.turns) != 1:
                different.append(name)

    assert different == []
    assert len(streams()) >= 40
