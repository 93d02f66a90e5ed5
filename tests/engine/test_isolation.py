"""Nothing of one conversation is ever in another, and each arrives as if it had a process of its own."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from typing import Any

import pytest

from engine.errors import ClaudeError
from engine.pool import Pool
from engine.sdk import Spawn
from rehearsal.reply import Fault, FaultKind, Reply
from rehearsal.server import ReceivedRequest, Rehearsal
from tests.engine.conversations import MODELS, SYSTEMS, Conversation, play, received, tool
from tests.sizes import sample
from translate.turn import Turn

pytestmark = pytest.mark.anyio

GUARD_S = 300

# `python -m bench soak` does the same with thousands.
CONVERSATIONS = sample(16, large=50)


def name_in(body: Any) -> str:
    """Return whose conversation a request is: every word carries its name."""
    text = json.dumps(body["messages"])
    names = {word.split(":")[0][-4:] for word in text.split('"') if ":question" in word}
    assert len(names) == 1, f"words of {names} in one request"
    return names.pop()


async def test_turns_of_interleaved_conversations_arrive_as_they_are(rehearsal: Rehearsal, spawn: Spawn) -> None:
    chance = random.Random(20261121)
    conversations = {
        name: Conversation(
            name,
            random.Random(name),
            model=chance.choice(MODELS),
            system=chance.choice(SYSTEMS),
            tools=tuple(tool(n) for n in chance.sample(["get", "put", "Bash", "Read"], k=chance.randint(1, 3)))
            if chance.random() < 0.6
            else (),
        )
        for name in (f"c{n:03d}" for n in range(CONVERSATIONS))
    }
    wanted: dict[str, list[Turn]] = {name: [] for name in conversations}
    came: Counter[str] = Counter()

    def script(request: ReceivedRequest) -> Reply:
        return conversations[name_in(request.body)].reply()

    rehearsal.script(script)

    async def talk(one: Conversation) -> None:
        for _ in range(chance.randint(4, 14)):
            if len(one.messages) > 3 and chance.random() < 0.1:
                # The person goes back and asks again, or in other words.
                del one.messages[-2 * chance.randint(0, 1) or len(one.messages) :]
                while one.messages and one.messages[-1].role != "assistant":
                    one.messages.pop()
                if one.messages and any(block["type"] == "tool_use" for block in one.messages[-1].content):
                    one.messages.clear()
            turn = one.ask()
            wanted[one.name].append(turn)
            how, events = await play(pool, turn)
            came[how] += 1
            one.hear(events)
            await asyncio.sleep(chance.random() / 20)

    async with asyncio.timeout(GUARD_S), Pool(spawn, limit=6, spare=2, boot_s=0.3) as pool:
        waiting = list(conversations.values())

        async def worker() -> None:
            while waiting:
                await talk(waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(worker())

    arrived: dict[str, list[dict[str, Any]]] = {name: [] for name in conversations}
    for request in rehearsal.turns:
        arrived[name_in(request.body)].append(received(request.body))
    for name, turns in wanted.items():
        assert [body["messages"] for body in arrived[name]] == [expected(turn) for turn in turns]
        assert [body["system"][-1]["text"] for body in arrived[name]] == [
            turn.system or body["system"][-1]["text"] for turn, body in zip(turns, arrived[name], strict=True)
        ]
        assert [body["tools"] for body in arrived[name]] == [[dict(t) for t in turn.tools] for turn in turns]
        assert [body.get("temperature", 1) for body in arrived[name]] == [
            1 if turn.temperature is None else turn.temperature for turn in turns
        ]
        assert [body.get("stop_sequences", []) for body in arrived[name]] == [
            list(turn.stop_sequences) for turn in turns
        ]
    # Each way in which a turn may come to a process was taken often.
    assert came["continued"] > 2 * CONVERSATIONS
    assert came["reused"] > 0.4 * CONVERSATIONS


def expected(turn: Turn) -> list[dict[str, Any]]:
    """Return the messages as the API is to receive them."""
    return [{"role": message.role, "content": [dict(block) for block in message.content]} for message in turn.messages]


async def test_a_used_process_sends_byte_for_byte_what_a_new_one_sends(rehearsal: Rehearsal, spawn: Spawn) -> None:
    one = Conversation("c001", random.Random(1), system="S", tools=(tool("get"),))
    other = Conversation("c002", random.Random(2), system="S")
    rehearsal.script(lambda request: one.reply() if name_in(request.body) == "c001" else other.reply())
    turns: list[Turn] = []

    async with asyncio.timeout(GUARD_S), Pool(spawn, limit=1, spare=0) as pool:
        for n in range(24):
            conversation = other if n % 5 == 4 else one
            turns.append(conversation.ask())
            _, events = await play(pool, turns[-1])
            conversation.hear(events)
    used = [request.body for request in rehearsal.turns]
    rehearsal.script(lambda _: Reply(text="c001:x"))
    for turn in turns:
        async with asyncio.timeout(GUARD_S), Pool(spawn, limit=1, spare=0) as pool:
            await play(pool, turn)

    new = [request.body for request in rehearsal.turns[len(turns) :]]
    assert [same(body) for body in used] == [same(body) for body in new]


def same(body: Any) -> bytes:
    """Return a request's bytes, the order of keys included, less what belongs to the process's own session."""
    return json.dumps(received(body), sort_keys=False).encode()


@pytest.mark.parametrize(
    "reply",
    [
        Reply.error(400),
        Reply.error(529),
        Reply(text="c001:half", stop_reason="max_tokens"),
        Reply(text=""),
        Reply(text="c001:a c001:b c001:c", fault=Fault(FaultKind.CUT, after=1)),
        Reply(text="no", stop_reason="refusal"),
    ],
    ids=["refused", "overloaded", "cut short", "empty", "broken off", "a refusal"],
)
async def test_a_failed_conversation_leaves_nothing_in_the_next(
    rehearsal: Rehearsal, spawn: Spawn, reply: Reply
) -> None:
    one = Conversation("c001", random.Random(1), system="S")
    other = Conversation("c002", random.Random(2), system="S")
    rehearsal.script(reply, Reply(text="c002:answer"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, limit=1, spare=0) as pool:
        with contextlib.suppress(ClaudeError):
            await play(pool, one.ask())
        asked = other.ask()
        await play(pool, asked)

    assert received(rehearsal.turns[-1].body)["messages"] == expected(asked)


async def test_a_turn_that_was_left_is_not_in_the_next(rehearsal: Rehearsal, spawn: Spawn) -> None:
    one = Conversation("c001", random.Random(1), system="S")
    other = Conversation("c002", random.Random(2), system="S")
    rehearsal.script(Reply(text="c001:word " * 9, stall_after=2), Reply(text="c002:answer"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, limit=1, spare=0) as pool:
        async with pool.run(one.ask()) as running:
            await anext(aiter(running))
        asked = other.ask()
        await play(pool, asked)

    assert received(rehearsal.turns[-1].body)["messages"] == expected(asked)
    assert len(rehearsal.turns) == 2
