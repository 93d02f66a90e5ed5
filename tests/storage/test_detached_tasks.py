"""Database work ends even if its caller is cancelled, and can be undone then."""

import asyncio

import pytest

from storage.database import StoreError
from storage.detached_tasks import DetachedTasks

pytestmark = pytest.mark.anyio


class Work:
    """Work that ends when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_end = asyncio.Event()
        self.done: list[str] = []
        self.error = error

    async def run(self) -> str:
        await self.may_end.wait()
        self.done.append("done")
        if self.error is not None:
            raise self.error
        return "result"

    async def undo(self, result: str) -> None:
        self.done.append(f"undone {result}")


async def cancelled(task: "asyncio.Task[str]") -> None:
    """Let a task begin, cancel it, and wait until it has ended."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_result_of_the_work_is_returned() -> None:
    tasks, work = DetachedTasks(), Work()
    work.may_end.set()

    assert await tasks.run(work.run(), "work") == "result"
    assert await tasks.run_or_undo(work.run(), work.undo, "work") == "result"
    assert work.done == ["done", "done"]


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    tasks, work = DetachedTasks(), Work()
    await cancelled(asyncio.create_task(tasks.run(work.run(), "work")))

    assert work.done == []
    work.may_end.set()
    await tasks.wait()
    assert work.done == ["done"]


async def test_work_is_undone_when_its_caller_is_cancelled() -> None:
    tasks, work = DetachedTasks(), Work()
    await cancelled(asyncio.create_task(tasks.run_or_undo(work.run(), work.undo, "work")))

    work.may_end.set()
    await tasks.wait()
    assert work.done == ["done", "undone result"]


async def test_work_that_the_database_refused_is_not_undone() -> None:
    tasks, work = DetachedTasks(), Work(StoreError("away"))
    await cancelled(asyncio.create_task(tasks.run_or_undo(work.run(), work.undo, "work")))

    work.may_end.set()
    await tasks.wait()
    assert work.done == ["done"]
