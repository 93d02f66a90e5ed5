"""Which process plays a turn, how many at once, and that none is left: the real CLI against the rehearsal."""

import asyncio
import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import ClaudeError
from engine.pool import Pool, plan
from engine.process import ClaudeProcess
from engine.sdk import Spawn
from rehearsal.reply import Reply
from rehearsal.server import Rehearsal
from tests.engine.test_facts import GUARD_S, said, turn

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


@pytest.mark.parametrize(
    ("alive", "expected"),
    [
        pytest.param([], "cold", id="nothing waits: a new process"),
        pytest.param([True], "warm", id="a process waits: that one"),
        pytest.param([False], "cold", id="what waits is dead: a new process"),
        pytest.param([False, True], "warm", id="the dead are passed over"),
    ],
)
def test_the_plan(alive: list[bool], expected: str) -> None:
    spare: Any = [SimpleNamespace(alive=one) for one in alive]

    assert plan(spare) == expected


async def test_a_spare_process_is_taken_and_replaced(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1) as pool:
        used = []
        for _ in range(3):
            await spare_of(pool)
            async with pool.run(turn("Hello")) as running:
                used.append(running.process)
                [_ async for _ in running]

    assert used == ["warm"] * 3
    assert children() == set()


async def test_a_spare_process_that_died_is_passed_over(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=1) as pool:
        dead = await spare_of(pool)
        await dead.stop()
        async with pool.run(turn("Hello")) as running:
            [_ async for _ in running]

        assert running.process == "cold"


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


async def test_leaving_a_turn_early_ends_it_at_the_api_and_its_process(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("Hello")) as running:
            await anext(aiter(running))

        assert children() == set()
        await rehearsal.turns[0].disconnected.wait()


@pytest.mark.parametrize("limits", [{"idle_timeout_s": 1.0}, {"timeout_s": 1.5}], ids=str)
async def test_a_stalled_answer_runs_into_its_limit(
    rehearsal: Rehearsal, spawn: Spawn, limits: dict[str, float]
) -> None:
    rehearsal.script(Reply(text="word " * 9, stall_after=2))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0, **limits) as pool:  # type: ignore[arg-type]
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello")) as running:
                [_ async for _ in running]

    assert caught.value.kind == "timeout_error"
    assert children() == set()


async def test_a_pool_that_cannot_start_a_spare_still_tells_the_next_turn_why(spawn: Spawn, tmp_path: Path) -> None:
    missing = Spawn(cwd=spawn.cwd, env=spawn.env, cli_path=tmp_path / "none")

    async with asyncio.timeout(GUARD_S), Pool(missing, spare=1) as pool:
        with pytest.raises(ClaudeError) as caught:
            async with pool.run(turn("Hello")):
                pass

    assert caught.value.kind == "cli_not_found"
