"""Tasks that nobody awaits are kept until they end, on any kind of event loop."""

import asyncio
from collections.abc import Callable

import pytest

from engine.tasks import TaskSet

pytestmark = pytest.mark.anyio


async def test_a_task_is_kept_until_it_has_ended() -> None:
    tasks, gate = TaskSet(), asyncio.Event()

    task = tasks.start(gate.wait(), "wait")
    assert (len(tasks), list(tasks)) == (1, [task])
    gate.set()
    assert await task
    await asyncio.sleep(0)
    assert len(tasks) == 0


@pytest.mark.parametrize("factory", [None, asyncio.eager_task_factory])
async def test_the_first_step_runs_after_the_start(factory: Callable[..., asyncio.Task[None]] | None) -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("work")

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(factory)  # type: ignore[arg-type]
    try:
        tasks = TaskSet()
        tasks.start(work(), "work")
        steps.append("started")
        await tasks.wait()
    finally:
        loop.set_task_factory(before)

    assert steps == ["started", "work"]


async def test_all_end_together_whatever_they_raise() -> None:
    async def fail() -> None:
        raise ValueError

    tasks, never = TaskSet(), asyncio.Event()
    waiting = tasks.start(never.wait(), "wait for ever")
    failing = tasks.start(fail(), "fail")
    await asyncio.sleep(0)
    await tasks.cancel()
    await asyncio.sleep(0)

    assert waiting.cancelled()
    assert isinstance(failing.exception(), ValueError)
    assert len(tasks) == 0


async def test_a_wait_ends_with_its_time() -> None:
    tasks, never = TaskSet(), asyncio.Event()
    tasks.start(never.wait(), "wait for ever")

    await tasks.wait(0)

    assert len(tasks) == 1
    await tasks.cancel()
