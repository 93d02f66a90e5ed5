"""Database work that must end even if the request that started it was cancelled."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from storage.database import StoreError


class DetachedTasks:
    """Tasks that run to their end. The event loop holds tasks only weakly, so this set holds them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task. Await it under ``asyncio.shield``, so that cancelling the caller does not cancel the task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run[T](self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Return the result of the work. If the caller is cancelled, the work goes on."""
        return await asyncio.shield(self.start(work, name))

    async def run_or_undo[T](self, work: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[None]], name: str) -> T:
        """Return the result of the work. If the caller is cancelled, let the work end, then undo what it did."""
        task = self.start(work, name)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.start(self._undo(task, undo), f"undo: {name}")
            raise

    async def wait(self) -> None:
        """Wait until every task has ended, including those that start meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _undo[T](self, task: asyncio.Task[T], undo: Callable[[T], Awaitable[None]]) -> None:
        with contextlib.suppress(StoreError):
            await undo(await task)
