"""What we lean on in Claude Code, fact by fact: the real CLI, and what the API received from it.

The numbers are those of the project's list of facts; docs/claude-code.md says what there is without each.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.images import Images
from engine.conversation import digest
from engine.errors import ClaudeError
from engine.pool import Pool
from engine.process import ClaudeProcess
from engine.sdk import OWN_BLOCKS, Connection, Spawn
from engine.transcript import transcript
from engine.valve import Valve
from rehearsal.reply import Fault, FaultKind, Reply, ToolCall
from rehearsal.server import Rehearsal
from translate.chat.messages import call_input
from translate.models import ALIASES
from translate.turn import ContentBlock, Message, Turn

pytestmark = pytest.mark.anyio

GUARD_S = 60


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def turn(*words: str, **fields: Any) -> Turn:
    """Return a turn of plain words: user, assistant, user and so on."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], (text(word),)) for n, word in enumerate(words))  # type: ignore[arg-type]
    return Turn(**{"model": "haiku", "messages": messages, "system": "SYSTEM", **fields})


async def play(spawn: Spawn, wanted: Turn) -> list[dict[str, Any]]:
    """Play a turn on a pool of its own and return its events; the pool is gone, and with it every process."""
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool, pool.run(wanted) as running:
        return [dict(event) async for event in running]


async def failure(spawn: Spawn, wanted: Turn) -> ClaudeError:
    with pytest.raises(ClaudeError) as caught:
        await play(spawn, wanted)
    return caught.value


def command_lines() -> list[bytes]:
    """Return the command lines of every process that can be seen, as `ps` would."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return lines


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def bare(body: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the messages the API received, less the cache markers that Claude Code adds."""
    return [
        (message["role"], [{k: v for k, v in block.items() if k != "cache_control"} for block in message["content"]])
        for message in body["messages"]
    ]


async def test_f10_parameters_are_laid_over_the_request(rehearsal: Rehearsal, spawn: Spawn) -> None:
    tool = {"name": "get", "input_schema": {"type": "object", "properties": {}}, "description": "x" * 9000}
    wanted = turn(
        "Hello",
        model="claude-sonnet-4-5",
        temperature=0.3,
        top_k=7,
        service_tier="standard_only",
        stop_sequences=("END",),
        metadata={"user_id": "u-1"},
        tools=(tool,),
        tool_choice={"type": "none"},
        output_format={"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}},
    )

    await play(spawn, wanted)

    (received,) = rehearsal.turns
    expected = {
        "temperature": 0.3,
        "top_k": 7,
        "service_tier": "standard_only",
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "tools": [tool],
        "tool_choice": {"type": "none"},
    }
    assert {name: received.body[name] for name in expected} == expected
    assert received.body["output_config"]["format"] == wanted.output_format


async def test_f11_a_running_process_takes_model_and_parameters(rehearsal: Rehearsal, spawn: Spawn) -> None:
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start()
    try:
        [_ async for _ in process.play(turn("Hello", model="opus", max_tokens=77, effort="high"))]
    finally:
        await process.stop()

    (received,) = rehearsal.turns
    assert (received.body["model"], received.body["max_tokens"]) == (ALIASES["opus"], 77)
    assert received.body["output_config"]["effort"] == "high"


async def test_f11_each_turn_of_a_pool_has_its_own_parameters(rehearsal: Rehearsal, spawn: Spawn) -> None:
    wanted = [
        turn("One", model="claude-sonnet-4-5", max_tokens=11, temperature=0.1),
        turn("Two", model="claude-haiku-4-5", max_tokens=22, top_p=0.5),
        turn("Three", model="claude-sonnet-4-5", max_tokens=33),
    ]
    rehearsal.script(*(Reply(text="Yes.") for _ in wanted))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1) as pool:
        for one in wanted:
            async with pool.run(one) as running:
                [_ async for _ in running]

    bodies = [received.body for received in rehearsal.turns]
    assert [(b["model"], b["max_tokens"], b.get("top_p")) for b in bodies] == [
        ("claude-sonnet-4-5", 11, None),
        ("claude-haiku-4-5", 22, 0.5),
        ("claude-sonnet-4-5", 33, None),
    ]
    assert bodies[0]["temperature"] == 0.1
    assert all(body.get("temperature", 1) == 1 for body in bodies[1:])


async def test_f12_a_turn_is_one_request(rehearsal: Rehearsal, spawn: Spawn) -> None:
    await play(spawn, turn("Hello"))

    assert [(received.method, received.path) for received in rehearsal.requests] == [("POST", "/v1/messages")]


async def test_f13_another_model_on_a_used_process_is_asked_nothing_beforehand(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        for model in ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-sonnet-4-5"):
            async with pool.run(turn("Hello", model=model)) as running:
                [_ async for _ in running]

    assert [(request.path, request.body["model"]) for request in rehearsal.requests] == [
        ("/v1/messages", "claude-sonnet-4-5"),
        ("/v1/messages", "claude-haiku-4-5"),
        ("/v1/messages", "claude-sonnet-4-5"),
    ]


async def test_f58_a_prompt_that_is_too_long_is_told_and_not_rewritten(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(lambda _: Reply.error(400, message="prompt is too long: 210000 tokens > 200000 maximum"))

    error = await failure(spawn, turn(*(f"word {n}" for n in range(41))))

    assert error.kind == "context_length_exceeded"
    assert len(rehearsal.turns) == 1


async def test_f36_thinking_comes_back_with_its_signature(rehearsal: Rehearsal, spawn: Spawn) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmF0dXJl"}
    messages = (
        Message("user", (text("a"),)),
        Message("assistant", (thought, text("b"))),
        Message("user", (text("c"),)),
    )

    await play(spawn, Turn(model="opus", messages=messages, thinking={"type": "adaptive"}))

    (received,) = rehearsal.turns
    assert bare(received.body)[1] == ("assistant", [thought, text("b")])


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
async def test_f40_after_the_token_limit_no_second_request_leaves(
    rehearsal: Rehearsal, spawn: Spawn, reason: str
) -> None:
    rehearsal.script(Reply(text="cut short", stop_reason=reason))

    events = await play(spawn, turn("Hello"))

    assert events[-1]["delta"]["stop_reason"] == reason
    assert len(rehearsal.turns) == 1


@pytest.mark.parametrize("empty", ["", "  \n"])
async def test_f41_an_empty_answer_is_not_asked_for_again(rehearsal: Rehearsal, spawn: Spawn, empty: str) -> None:
    rehearsal.script(Reply(text=empty))

    events = await play(spawn, turn("Hello"))

    assert events[-1]["delta"]["stop_reason"] == "end_turn"
    assert len(rehearsal.turns) == 1


async def test_f43_a_tool_call_ends_the_turn_and_nothing_is_run(rehearsal: Rehearsal, spawn: Spawn) -> None:
    schema = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
    tools = tuple({"name": name, "input_schema": schema} for name in ("Bash", "Read", "ToolSearch", "get_weather"))
    target = spawn.cwd / "made-by-the-cli"

    for tool in tools:
        rehearsal.reset()
        choice = {"type": "tool", "name": tool["name"]}
        events = await play(spawn, turn(f"touch {target}", model="claude-sonnet-4-5", tools=tools, tool_choice=choice))

        assert events[-1]["delta"]["stop_reason"] == "tool_use"
        assert len(rehearsal.turns) == 1
    assert not target.exists()


async def test_f43_after_a_tool_call_no_request_leaves_even_if_the_process_lives_on(
    rehearsal: Rehearsal, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = {"name": "get", "input_schema": {"type": "object"}}
    rehearsal.script(Reply(tool_calls=(ToolCall("get", input_json="{}"),)))
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start()
    try:
        with monkeypatch.context() as slow:
            # A proxy that is too busy to end the process in time.
            slow.setattr(Connection, "kill", lambda connection: None)
            [_ async for _ in process.play(turn("Hello", model="claude-sonnet-4-5", tools=(tool,)))]
            with contextlib.suppress(ClaudeError):
                await process.settle("claude-sonnet-4-5")
    finally:
        await process.stop()

    assert len(rehearsal.turns) == 1


async def test_f73_a_tool_that_the_api_runs_is_laid_over_the_request_and_claude_code_runs_nothing(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    own = {"name": "WebSearch", "input_schema": {"type": "object"}}
    rehearsal.script(Reply(text="It is so.", search="is it so"))

    events = await play(spawn, turn("Is it so?", tools=(own, search)))

    kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
    assert events[-1]["delta"]["stop_reason"] == "end_turn"
    assert rehearsal.turns[0].body["tools"][1] == search
    assert len(rehearsal.turns) == 1


async def test_f44_a_refusal_is_an_answer(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="No.", stop_reason="refusal"))

    events = await play(spawn, turn("Hello"))

    assert events[-1]["delta"]["stop_reason"] == "refusal"
    assert len(rehearsal.turns) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
async def test_f50_an_error_is_told_once_and_not_retried(
    rehearsal: Rehearsal, spawn: Spawn, status: int, kind: str
) -> None:
    rehearsal.script(Reply.error(status))

    error = await failure(spawn, turn("Hello"))

    assert (error.kind, error.retry_after_s) == (kind, None)
    assert len(rehearsal.turns) == 1


async def test_f50_the_announcement_of_a_retry_tells_how_long_to_wait(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply.error(429, headers=(("retry-after", "30"),)))

    error = await failure(spawn, turn("Hello"))

    assert error.kind == "rate_limit_error"
    assert error.retry_after_s is not None
    assert 30 <= error.retry_after_s <= 38
    assert len(rehearsal.turns) == 1


@pytest.mark.parametrize("fault", [FaultKind.CUT, FaultKind.END, FaultKind.SSE_ERROR, FaultKind.MALFORMED])
async def test_f54_a_broken_stream_is_an_error_and_not_asked_again(
    rehearsal: Rehearsal, spawn: Spawn, fault: FaultKind
) -> None:
    rehearsal.script(Reply(text="word " * 20, fault=Fault(fault, after=3)))

    error = await failure(spawn, turn("Hello"))

    # A reset can outrun the events that were sent before it.
    assert error.kind in ("stream_error", "overloaded_error", "connection_error")
    assert len(rehearsal.turns) == 1


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (None, "cli_not_found"),
        ("#!/bin/sh\nexit 3\n", "cli_failed"),
        ("#!/bin/sh\nread line\necho '{\"type\": garbage'\nexec sleep 600\n", "cli_failed"),
    ],
    ids=["missing", "exits at once", "writes garbage"],
)
async def test_f57_a_cli_that_does_not_work_is_one_clean_error(
    spawn: Spawn, tmp_path: Path, script: str | None, kind: str
) -> None:
    path = tmp_path / "claude"
    if script is not None:
        path.write_text(script)
        path.chmod(0o755)

    error = await failure(Spawn(cwd=spawn.cwd, env=spawn.env, cli_path=path), turn("Hello"))

    assert error.kind == kind


async def test_f53_a_connection_that_ends_before_the_answer_is_told_once(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(fault=Fault(FaultKind.DROP)))

    error = await failure(spawn, turn("Hello"))

    assert error.kind == "connection_error"
    assert len(rehearsal.turns) == 1


async def test_f56_without_credentials_nothing_is_asked(rehearsal: Rehearsal, spawn: Spawn) -> None:
    env = {name: value for name, value in spawn.env.items() if name != "ANTHROPIC_API_KEY"}

    error = await failure(replace(spawn, env=env), turn("Hello"))

    assert error.kind == "not_logged_in"
    assert rehearsal.requests == []


async def test_f57_a_cli_that_says_nothing_runs_into_the_turns_limit(spawn: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)

    error = await failure(replace(spawn, cli_path=path), turn("Hello", timeout_s=1.0))

    assert error.kind == "timeout_error"


async def test_f57_a_cli_that_is_killed_amid_its_answer_is_one_clean_error(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start()
    try:
        events = process.play(turn("Hello"))
        await anext(events)
        pid = int(repr(process).partition("pid=")[2].partition(" ")[0])
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ClaudeError) as caught:
            [_ async for _ in events]
    finally:
        await process.stop()

    assert caught.value.kind == "cli_failed"
    assert len(rehearsal.turns) == 1


async def test_a_terminals_ctrl_c_does_not_end_a_turn(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="one two three", stall_after=1))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool, pool.run(turn("Hello")) as running:
        events = aiter(running)
        heard = [dict(await anext(events))]
        sessions = {os.getsid(one["pid"]) for one in pool.status()["processes"]}
        rehearsal.release()
        heard += [dict(event) async for event in events]

    # What is in another session is not in the terminal's foreground.
    assert sessions and os.getsid(0) not in sessions
    assert said(heard) == "one two three"


async def test_f64_what_an_interrupted_turn_leaves_is_rewound(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=3), Reply(text="second"))
    async with asyncio.timeout(GUARD_S), Valve() as valve:
        process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S, valve=valve)
        await process.start()
        try:
            events = process.play(turn("One"))
            await anext(events)
            await rehearsal.turns[0].wait_for_sent(3)
            await events.aclose()
            await process.abandon()
            await rehearsal.turns[0].disconnected.wait()
            [_ async for _ in process.play(turn("Two"))]
        finally:
            await process.stop()

    assert bare(rehearsal.turns[1].body) == [("user", [text("Two")])]


async def test_f70_f79_calls_of_tools_that_a_process_learns_of_later_are_parked_all_at_once(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    tools = tuple({"name": name, "input_schema": {"type": "object"}} for name in ("get", "Bash", "ToolSearch"))
    calls = tuple(ToolCall(str(tool["name"]), input_json="{}") for tool in tools)
    rehearsal.script(Reply(text="Hello"), Reply(text="", tool_calls=calls), Reply(text="done"))
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start()
    try:
        async with asyncio.timeout(GUARD_S):
            [_ async for _ in process.play(turn("One"))]
            await process.settle("haiku")
            events = [event async for event in process.play(turn("Two", tools=tools))]
            await process.settle("haiku")
            ids = [e["content_block"]["id"] for e in events if e["type"] == "content_block_start"]
            parked = process.held[-1].calls
            results = tuple(
                {"type": "tool_result", "tool_use_id": id, "content": [text(f" the result\n of {id} 😀 ")]}
                for id in ids
            )
            uses = [
                {"type": "tool_use", "id": id, "name": tool["name"], "input": {}}
                for id, tool in zip(ids, tools, strict=True)
            ]
            messages = (Message("user", (text("Two"),)), Message("assistant", tuple(uses)), Message("user", results))
            [_ async for _ in process.play(Turn("haiku", messages, system="SYSTEM", tools=tools))]
    finally:
        await process.stop()

    assert parked == tuple(ids)
    assert len(rehearsal.turns) == 3
    assert json.dumps(bare(rehearsal.turns[2].body)) == json.dumps(
        [
            ["user", [text("Two")]],
            ["assistant", uses],
            ["user", [{"tool_use_id": r["tool_use_id"], **r} for r in results]],
        ]
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Write", {"file_path": "/x.txt", "content": "blanks at the end  \n"}),
        ("Edit", {"file_path": "/x", "old_string": "a", "new_string": "b"}),
        ("Bash", {"command": "ls", "timeout": "5"}),
        ("get", {"pattern": r"caf\u00e9"}),
        ("get", {"pattern": r"\ud83d"}),
    ],
)
async def test_f70_a_call_that_waits_is_put_in_anew_where_claude_code_keeps_it_in_another_form(
    rehearsal: Rehearsal, spawn: Spawn, name: str, arguments: dict[str, str]
) -> None:
    tools = ({"name": name, "input_schema": {"type": "object"}},)
    rehearsal.script(Reply(text="", tool_calls=(ToolCall(name, input_json=json.dumps(arguments)),)), Reply(text="a"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("go", tools=tools)) as running:
            events = [dict(event) async for event in running]
        call = next(e["content_block"] for e in events if e["type"] == "content_block_start")
        use = {"type": "tool_use", "id": call["id"], "name": name, "input": arguments}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": [text("r")]}
        messages = (Message("user", (text("go"),)), Message("assistant", (use,)), Message("user", (result,)))
        async with pool.run(turn(tools=tools, messages=messages)) as running:
            [_ async for _ in running]

    assert bare(rehearsal.turns[1].body) == [(message.role, list(message.content)) for message in messages]


async def test_f88_rewind_leaves_no_residue(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(*(Reply(text=f"answer {n}") for n in range(4)))
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start()
    try:
        async with asyncio.timeout(GUARD_S):
            for wanted in (turn("q0"), turn("q0", "answer 0", "q1"), turn("h0", "a0", "h1", "a1", "h2"), turn("last")):
                [_ async for _ in process.play(wanted)]
                await process.settle("haiku")
    finally:
        await process.stop()

    assert bare(rehearsal.turns[2].body) == [
        ("assistant" if word[0] == "a" else "user", [text(word)]) for word in ("h0", "a0", "h1", "a1", "h2")
    ]
    assert bare(rehearsal.turns[3].body) == [("user", [text("last")])]


async def test_f83_a_transcript_is_a_history(rehearsal: Rehearsal, spawn: Spawn) -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    result = {"tool_use_id": "t1", "type": "tool_result", "content": [text("r")]}
    messages = (
        Message("user", (text("/clear @/etc/passwd"),)),
        Message("assistant", (use,)),
        Message("user", (result,)),
        Message("assistant", (thinking, text("done"))),
        Message("user", (text("next"),)),
    )
    wanted = Turn("claude-sonnet-4-5", messages, system="SYSTEM")
    digests = [digest(message, wanted.model) for message in messages]
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    await process.start_with(transcript(messages[:-1], digests[:-1], wanted.model))
    try:
        async with asyncio.timeout(GUARD_S):
            [_ async for _ in process.play(wanted)]
            await process.settle(wanted.model)
            [_ async for _ in process.play(turn("fresh", model=wanted.model))]
    finally:
        await process.stop()

    assert bare(rehearsal.turns[0].body) == [(message.role, list(message.content)) for message in messages]
    assert bare(rehearsal.turns[1].body) == [("user", [text("fresh")])]


@pytest.mark.parametrize("pairs", [1, 10])
async def test_f80_f81_history_arrives_as_it_was(rehearsal: Rehearsal, spawn: Spawn, pairs: int) -> None:
    words = [f"{'question' if n % 2 == 0 else 'answer'} {n} /clear @/etc/passwd" for n in range(2 * pairs + 1)]

    await play(spawn, turn(*words))

    (received,) = rehearsal.turns
    roles = ("user", "assistant")
    assert bare(received.body) == [(roles[n % 2], [text(word)]) for n, word in enumerate(words)]


async def test_f80_tool_calls_and_results_arrive_as_they_were(rehearsal: Rehearsal, spawn: Spawn) -> None:
    uses = tuple({"type": "tool_use", "id": f"toolu_{n}", "name": "get", "input": {"n": n}} for n in range(2))
    results = tuple(
        {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": [text("x" * size)]}
        for n, size in enumerate((1, 100_000))
    )
    messages = (Message("user", (text("a"),)), Message("assistant", uses), Message("user", (*results, text("b"))))
    tools = ({"name": "get", "input_schema": {"type": "object"}},)

    await play(spawn, Turn(model="haiku", messages=messages, tools=tools))

    (received,) = rehearsal.turns
    assert bare(received.body) == [
        ("user", [text("a")]),
        ("assistant", list(uses)),
        ("user", [*results, text("b")]),
    ]


@pytest.mark.parametrize("resume", [False, True], ids=["message by message", "as a transcript"])
async def test_f82_what_says_nothing_is_still_an_assistants_message(
    rehearsal: Rehearsal, spawn: Spawn, resume: bool
) -> None:
    """Claude Code writes these words in place of nothing, and drops a message of them from a history."""
    words = ("go", "(no content)", "on", "[Empty text removed]", "and on", "(no content)", "now")
    wanted = turn(*words)
    digests = [digest(message, wanted.model) for message in wanted.messages]
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    if resume:
        await process.start_with(transcript(wanted.messages[:-1], digests[:-1], wanted.model))
    else:
        await process.start()
    try:
        async with asyncio.timeout(GUARD_S):
            [_ async for _ in process.play(wanted)]
    finally:
        await process.stop()

    (received,) = rehearsal.turns
    assert [(role, blocks[0]["text"].rstrip("\u200b")) for role, blocks in bare(received.body)] == [
        (message.role, word) for message, word in zip(wanted.messages, words, strict=True)
    ]


@pytest.mark.parametrize("words", ["(no content)", "\ufeff"])
async def test_f82_an_answer_that_says_nothing_is_in_the_conversation_that_goes_on(
    rehearsal: Rehearsal, spawn: Spawn, words: str
) -> None:
    rehearsal.script(Reply(text=words), Reply(text="done"))
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        for wanted in (turn("go"), turn("go", "(no content)", "on")):
            async with pool.run(wanted) as running:
                [_ async for _ in running]

    assert [role for role, _ in bare(rehearsal.turns[1].body)] == ["user", "assistant", "user"]
    assert len(rehearsal.turns) == 2


async def test_a_call_whose_id_is_another_and_a_number_is_taken_for_a_part_of_it(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    """Why :class:`translate.tools.ToolUseIds` has no such ids: the results do not arrive."""
    tools = ({"name": "get", "input_schema": {"type": "object"}},)

    for ids in (("a", "a_2"), ("b", "b-2")):
        uses: tuple[ContentBlock, ...] = tuple({"type": "tool_use", "id": id, "name": "get", "input": {}} for id in ids)
        results = tuple({"type": "tool_result", "tool_use_id": id, "content": [text(id)]} for id in ids)
        messages = (Message("user", (text("go"),)), Message("assistant", uses), Message("user", results))
        await play(spawn, Turn(model="haiku", messages=messages, tools=tools))

    lost, kept = (bare(received.body)[2][1] for received in rehearsal.turns)
    assert [block["content"] for block in kept] == [[text("b")], [text("b-2")]]
    assert [text("a_2")] not in [block["content"] for block in lost]


async def test_f25_images_inside_our_limits_arrive_as_they_are_and_larger_ones_do_not(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    """Why :mod:`api.images` scales images down: Claude Code would, and add words of its own."""

    def image(*size: int) -> ContentBlock:
        buffer = io.BytesIO()
        Image.new("RGB", size).save(buffer, "PNG")  # type: ignore[arg-type]
        data = base64.b64encode(buffer.getvalue()).decode()
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    async with Images() as images:
        sizes = [(side, side - less) for side in (2500, 4000) for less in (0, 100, 200, 1000)]
        largest = tuple([await images.fit(image(*size), "") for size in sizes])
    for content in (largest, (image(2000, 1868),)):
        await play(spawn, Turn(model="haiku", messages=(Message("user", content),)))

    kept, changed = (bare(received.body)[0][1] for received in rehearsal.turns)
    assert kept == list(largest)
    assert sorted(block["type"] for block in changed) == ["image", "text"]


async def test_integers_beyond_javascripts_arrive_rounded_and_so_are_strings(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    """Why :func:`translate.chat.messages.call_input` makes strings of them. A call that waits is put in anew, too."""
    tools = ({"name": "get", "input_schema": {"type": "object"}},)
    arguments = '{"id": 1234567890123456789}'
    rehearsal.script(Reply(text="", tool_calls=(ToolCall("get", input_json=arguments),)), Reply(text="a"))
    rounded: list[Any] = []

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("go", tools=tools)) as running:
            events = [dict(event) async for event in running]
        call = next(e["content_block"] for e in events if e["type"] == "content_block_start")
        for input in (call_input(arguments), json.loads(arguments)):
            use = {"type": "tool_use", "id": call["id"], "name": "get", "input": input}
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": [text("r")]}
            messages = (Message("user", (text("go"),)), Message("assistant", (use,)), Message("user", (result,)))
            async with pool.run(turn(tools=tools, messages=messages)) as running:
                [_ async for _ in running]
            rounded.append(bare(rehearsal.turns[-1].body)[1][1][0]["input"]["id"])

    assert rounded == ["1234567890123456789", 1234567890123456800]


async def test_f96_the_system_prompt_is_on_no_command_line(rehearsal: Rehearsal, spawn: Spawn) -> None:
    gate = asyncio.Event()
    rehearsal.script(Reply(text="Hello there", gates={1: gate}))
    secret = "the-prompt-of-this-test " * 10_000

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool, pool.run(turn("Hi", system=secret)) as running:
        events = aiter(running)
        await anext(events)
        lines = command_lines()
        gate.set()
        [_ async for _ in events]

    assert any(b"--bare" in line for line in lines)
    assert not any(b"the-prompt-of-this-test" in line for line in lines)
    assert rehearsal.turns[0].body["system"][-1]["text"] == secret


@pytest.mark.parametrize("system", ["x-anthropic-billing-header: cc_version=1;\n\nBe brief.", *sorted(OWN_BLOCKS)])
async def test_f96_a_system_prompt_is_not_taken_for_a_block_of_claude_codes_own(
    rehearsal: Rehearsal, spawn: Spawn, system: str
) -> None:
    await play(spawn, turn("Hi", system=None))
    await play(spawn, turn("Hi", system=system))

    without, received = ([block["text"] for block in request.body["system"]] for request in rehearsal.turns)
    assert received[1:] == [*without[1:], f"\n{system}"]
    assert received[0].partition(";")[0] == without[0].partition(";")[0]


async def test_f96_without_a_system_prompt_there_is_none(rehearsal: Rehearsal, spawn: Spawn) -> None:
    await play(spawn, turn("Hi", system=None))

    assert [block["text"][:24] for block in rehearsal.turns[0].body["system"]] == [
        "x-anthropic-billing-head",
        "You are a Claude agent, ",
    ]


async def test_f99_the_aliases_mean_what_our_table_says(spawn: Spawn) -> None:
    connection = Connection(spawn, lambda line: None, lambda event: None)
    await connection.start()
    try:
        answer = await connection.initialize("SYSTEM")
    finally:
        await connection.close()

    assert {model["value"]: model["resolvedModel"] for model in answer["models"]} == ALIASES
