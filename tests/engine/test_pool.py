"""Which process plays a turn, how many at once, and that none is left: the real CLI against the rehearsal."""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ClaudeError
from engine.pool import Pool
from engine.process import ClaudeProcess
from engine.sdk import Spawn
from rehearsal.reply import AT_HEAD, Reply, ToolCall
from rehearsal.server import Rehearsal
from tests.engine.test_facts import GUARD_S, bare, said, turn
from translate.turn import Turn

pytestmark = pytest.mark.anyio


def children() -> set[int]:
    """Return the Claude Code processes that this one started and that run."""
    found = set()
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in path.read_text().split():
            with contextlib.suppress(OSError):
                program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
                found |= {int(pid)} if program.endswith(b"/claude") else set()
    return found


async def spare_of(pool: Pool) -> ClaudeProcess:
    """Wait until a process waits, and return it."""
    while not pool.spare:  # noqa: ASYNC110 — the pool tells nobody
        await asyncio.sleep(0.01)
    return pool.spare[0]


def transcripts(spawn: Spawn) -> list[Path]:
    """Return every transcript that lies in the configuration folder."""
    return list(Path(spawn.env["CLAUDE_CONFIG_DIR"]).rglob("*.jsonl"))


async def finish(pool: Pool, wanted: Turn) -> str:
    """Play a turn to its end and return how its process came to it."""
    async with pool.run(wanted) as running:
        [_ async for _ in running]
    return running.process


async def at_rest(pool: Pool) -> None:
    """Wait until every process that was used waits again, or is gone."""
    while any(one["state"] in ("settling", "ending") for one in pool.status()["processes"]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_spare_process_is_taken_and_replaced(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1, boot_s=0) as pool:
        used = []
        for n in range(3):
            await spare_of(pool)
            used.append(await finish(pool, turn("Hello", system=f"system {n}")))

    assert used == ["warm"] * 3
    assert children() == set()


async def test_a_spare_process_is_replaced_while_a_long_answer_comes(rehearsal: Rehearsal, spawn: Spawn) -> None:
    replaced = asyncio.Event()
    rehearsal.script(Reply(text="Hello there", gates={1: replaced}))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1, boot_s=0) as pool:
        await spare_of(pool)
        await asyncio.sleep(0.01)  # the pool has seen that one is enough
        async with pool.run(turn("Hello")) as running:
            events = aiter(running)
            heard = [dict(await anext(events))]
            assert not pool.spare
            await spare_of(pool)
            replaced.set()
            heard += [dict(event) async for event in events]

    assert (running.process, said(heard)) == ("warm", "Hello there")
    assert children() == set()


async def test_a_spare_process_that_died_is_passed_over(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1, boot_s=30) as pool:
        dead = await spare_of(pool)
        await dead.stop()

        assert await finish(pool, turn("Hello")) == "cold"


async def test_a_process_serves_the_next_conversation_with_its_system_prompt(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        used = [await finish(pool, turn(f"Hello {n}")) for n in range(3)]
        pids = {process.pid for process in pool.idle}

    assert used == ["cold", "reused", "reused"]
    assert len(pids) == 1
    assert [bare(received.body) for received in rehearsal.turns] == [
        [("user", [{"type": "text", "text": f"Hello {n}"}])] for n in range(3)
    ]


async def test_a_conversation_goes_on_where_its_process_has_it(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(*(Reply(text=f"answer {n}") for n in range(3)))
    words = ["question 0", "answer 0", "question 1", "answer 1", "question 2"]

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        used = [await finish(pool, turn(*words[:length])) for length in (1, 3, 5)]

    assert used == ["cold", "continued", "continued"]
    assert bare(rehearsal.turns[-1].body) == [
        ("user" if n % 2 == 0 else "assistant", [{"type": "text", "text": word}]) for n, word in enumerate(words)
    ]


async def test_the_pool_works_with_mitmproxys_eager_tasks(rehearsal: Rehearsal, spawn: Spawn) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    rehearsal.script(Reply.error(400), Reply(text="answer"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1) as pool:
        with pytest.raises(ClaudeError):
            await finish(pool, turn("Hello"))
        used = [await finish(pool, turn("Hello")), await finish(pool, turn("Hello", "answer", "more"))]

    assert used == ["reused", "continued"]


async def test_a_process_with_another_system_prompt_is_not_taken(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        used = [await finish(pool, turn("Hello", system=system)) for system in ("one", "other", None, "one")]

    assert used == ["cold", "cold", "cold", "reused"]
    assert ["one" in str(received.body["system"]) for received in rehearsal.turns] == [True, False, False, True]


async def test_an_idle_process_gives_way_when_another_system_prompt_needs_its_place(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=2) as pool:
        for n in range(4):
            await finish(pool, turn("Hello", system=f"system {n}"))
            await at_rest(pool)
        kept = [process.system for process in pool.idle]

    assert kept == ["system 2", "system 3"]


async def test_a_long_history_is_given_to_a_process_to_begin_with(rehearsal: Rehearsal, spawn: Spawn) -> None:
    words = [f"word {n} @/etc/passwd" for n in range(401)]

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1) as pool:
        how = await finish(pool, turn(*words))
        again = await finish(pool, turn(*words[:200], "other"))

    assert (how, again) == ("resumed", "continued")
    first, second = (bare(received.body) for received in rehearsal.turns)
    assert [blocks[0]["text"] for _, blocks in first] == words
    assert [blocks[0]["text"] for _, blocks in second] == [*words[:200], "other"]
    assert transcripts(spawn) == []


async def test_an_idle_process_that_dies_is_passed_over(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        await finish(pool, turn("Hello"))
        await at_rest(pool)
        os.kill(pool.idle[0].pid or 0, signal.SIGKILL)
        while pool.idle[0].alive:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        how = await finish(pool, turn("Hello"))

    assert how == "cold"


async def test_a_process_is_ended_when_nobody_has_needed_it_for_long(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, keep_s=0) as pool:
        await finish(pool, turn("Hello"))
        await at_rest(pool)
        await pool.keep_house()
        await at_rest(pool)

        assert children() == set()


async def test_processes_that_take_more_memory_than_they_may_are_ended(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=4, memory_bytes=500 * 1024 * 1024) as pool:
        await finish(pool, turn("Hello"))
        await at_rest(pool)
        await pool.keep_house()
        roomy = (len(pool.idle), pool.status()["limit"])
        pool.memory_bytes = 1
        await pool.keep_house()
        await at_rest(pool)

        assert roomy == (1, 2) or roomy == (1, 3) or roomy == (1, 4)
        assert pool.status()["limit"] == 1
        assert children() == set()


async def test_the_status_of_the_pool_has_no_part_of_a_conversation(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        await finish(pool, turn("CANARY", system="CANARY"))
        await at_rest(pool)
        status = pool.status()

    assert "CANARY" not in json.dumps(status)
    assert [one["state"] for one in status["processes"]] == ["idle"]
    assert status["counts"] == {"cold": 1, "finished": 1}


async def test_a_full_line_is_refused_at_once(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))

    pool = Pool(spawn, spare=0, limit=1, max_waiting=0)
    async with asyncio.timeout(GUARD_S), pool, pool.run(turn("Hello")) as running:
        await anext(aiter(running))
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello too")):
                pass

    assert (caught.value.kind, caught.value.retry_after_s) == ("queue_full", 1)


async def test_one_clients_requests_do_not_keep_another_from_its_turn(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="first", stall_after=0))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool, asyncio.TaskGroup() as group:
        group.create_task(finish(pool, turn("busy 0", client="busy")))
        await rehearsal.wait_for_requests(1)
        for n in range(1, 6):
            group.create_task(finish(pool, turn(f"busy {n}", client="busy")))
        await asyncio.sleep(0)
        group.create_task(finish(pool, turn("the other", client="other")))
        await asyncio.sleep(0)
        rehearsal.release()

    asked = [bare(received.body)[0][1][0]["text"] for received in rehearsal.turns]
    assert asked.index("the other") == 2


async def test_beyond_the_limit_a_turn_waits_and_is_told_when_no_place_comes_free(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))

    pool = Pool(spawn, spare=0, limit=1, wait_s=0.05)
    async with asyncio.timeout(GUARD_S), pool, pool.run(turn("Hello")) as running:
        await anext(aiter(running))
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello too")):
                pass

    assert (caught.value.kind, caught.value.retry_after_s) == ("busy", 1)
    assert len(rehearsal.turns) == 1


async def test_a_turn_that_waits_is_played_when_a_place_comes_free(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="first", stall_after=0), Reply(text="second"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, limit=1) as pool:

        async def play(words: str) -> str:
            async with pool.run(turn(words)) as running:
                return said([dict(event) async for event in running])

        async with asyncio.TaskGroup() as group:
            one = group.create_task(play("1"))
            await rehearsal.wait_for_requests(1)
            other = group.create_task(play("2"))
            # The second cannot have begun: its request would be the first thing that the API sees of it.
            assert len(rehearsal.turns) == 1
            rehearsal.release()

    assert (one.result(), other.result()) == ("first", "second")
    assert [received.body["messages"][0]["content"][0]["text"] for received in rehearsal.turns] == ["1", "2"]
    assert children() == set()


async def test_closing_a_pool_amid_turns_and_starts_leaves_nothing_running(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=2) as pool:
        async with pool.run(turn("Hello")) as running:
            await anext(aiter(running))
        before = children()

    assert before != set()
    assert children() == set()


async def test_leaving_a_turn_early_ends_it_at_the_api_and_keeps_its_process(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2), Reply(text="second"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("Hello")) as running:
            await anext(aiter(running))
        await rehearsal.turns[0].disconnected.wait()
        await at_rest(pool)
        # On a machine too busy to end its turn within the time, the process is killed instead.
        kept = len(pool.idle)
        how = await finish(pool, turn("Something else"))

    assert how == ("reused" if kept else "cold")
    assert bare(rehearsal.turns[-1].body) == [("user", [{"type": "text", "text": "Something else"}])]
    assert len(rehearsal.turns) == 2


async def test_a_turn_that_is_left_when_its_calls_are_waiting_keeps_nobody_else_waiting(
    rehearsal: Rehearsal, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.process.INTERRUPT_S", GUARD_S)
    tool = {"name": "get", "description": "gets", "input_schema": {"type": "object"}}
    rehearsal.script(Reply(tool_calls=(ToolCall("get"),)), Reply(text="second"))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("Hello", tools=(tool,))) as running:
            await anext(aiter(running))
            while not running._claude._connection.waiting:  # noqa: ASYNC110 — the park tells nobody
                await asyncio.sleep(0.01)
        how = await finish(pool, turn("Something else"))

    assert how == "reused"
    assert bare(rehearsal.turns[-1].body) == [("user", [{"type": "text", "text": "Something else"}])]
    assert len(rehearsal.turns) == 2


async def test_a_turn_that_is_left_before_it_was_asked_leaves_its_process_as_it_was(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("Hello")):
            pass
        how = await finish(pool, turn("Something else"))

    assert how == "reused"
    assert [bare(received.body) for received in rehearsal.turns] == [
        [("user", [{"type": "text", "text": "Something else"}])]
    ]


async def test_a_turn_that_is_left_amid_its_history_ends_its_process(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        await finish(pool, turn("Hello"))
        words = [f"word {n}" for n in range(61)]
        leaving = asyncio.create_task(finish(pool, turn(*words)))
        while not pool.status()["running"] or len(pool.idle):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await at_rest(pool)

        assert children() == set()
    assert len(rehearsal.turns) == 1


@pytest.mark.parametrize(
    ("stall", "limits", "kind"),
    [
        (2, {"idle_timeout_s": 1.0}, "idle_timeout"),
        (2, {"timeout_s": 2.5}, "timeout_error"),
        (AT_HEAD, {"first_token_timeout_s": 1.5}, "first_token_timeout"),
    ],
    ids=["silent amid an answer", "too long in all", "no first token"],
)
async def test_a_stalled_answer_runs_into_its_limit(
    rehearsal: Rehearsal, spawn: Spawn, stall: int, limits: dict[str, float], kind: str
) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=stall))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, **limits) as pool:  # type: ignore[arg-type]
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello")) as running:
                [_ async for _ in running]

        await at_rest(pool)
        assert len(children()) == len(pool.idle)

    assert caught.value.kind == kind


async def test_a_pool_that_cannot_start_a_spare_still_tells_the_next_turn_why(spawn: Spawn, tmp_path: Path) -> None:
    missing = Spawn(cwd=spawn.cwd, env=spawn.env, cli_path=tmp_path / "none")

    async with asyncio.timeout(GUARD_S), Pool(missing, spare=1) as pool:
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello")):
                pass

    assert caught.value.kind == "cli_not_found"


async def test_a_process_is_continued_or_reused_by_its_owner_alone(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(*[Reply(text="Hi")] * 9)
    first = turn("Hello", system="S")
    second = turn("Hello", "Hi", "And?", system="S")

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        used = {}
        for name, client, wanted in (
            ("a's first", "a/app", first),
            ("b's guess", "b/app", second),
            ("b's own", "b/app", turn("Else", system="S")),
            ("a's second, of another app", "a/other", second),
        ):
            used[name] = await finish(pool, replace(wanted, client=client))
            await at_rest(pool)

    assert used["a's first"] == "cold"
    assert used["b's guess"] not in ("continued", "reused")
    assert used["b's own"] == "reused"
    assert used["a's second, of another app"] == "continued"
