"""Tasks that nobody awaits one by one: each is kept until it has ended, and all can be ended together."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any


class TaskSet:
    """The tasks that somebody has started and that have not ended.

    The event loop itself holds tasks only weakly. A task that nothing else refers to can be lost before it ends.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._tasks))

    def start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task. Its first step runs after this call has returned."""
        # Not create_task: mitmproxy's event loop runs the first step of such a task at once, so that it could end
        # before the caller has stored it.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all tasks have ended, or until the time is over. Raises nothing that a task has raised."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self:
            task.cancel()
        await self.wait()
