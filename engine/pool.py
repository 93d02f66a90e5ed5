"""Which process plays a turn: :func:`plan` decides, :class:`Pool` acts.

A process serves one turn and is gone. A few wait booted but uninitialised, ready for any system prompt and model
(fact F96), so that a request does not pay for the boot; each one taken is replaced once its turn has begun to answer.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Literal, Self

from engine import Event, Outcome
from engine.errors import ClaudeError
from engine.process import ClaudeProcess
from engine.sdk import Spawn
from translate.turn import Turn

log = logging.getLogger(__name__)

# How long a finished process may take to report its result, which nobody waits for.
SETTLE_S = 5.0

type Plan = Literal["warm", "cold"]


def plan(spare: Sequence[ClaudeProcess]) -> Plan:
    """Choose the process for a turn: one that waits, or a new one."""
    return "warm" if any(process.alive for process in spare) else "cold"


class Play:
    """One turn being played. Iterate for its events."""

    def __init__(self, process: ClaudeProcess, turn: Turn, on_first_event: Callable[[], None]) -> None:
        self._claude = process
        self._turn = turn
        self._on_first_event = on_first_event
        self.process = process.how
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the stop reason has come. Raises ClaudeError when the turn fails."""
        async with contextlib.aclosing(self._claude.play(self._turn)) as events:
            first = True
            async for event in events:
                if first:
                    first = False
                    self._on_first_event()
                yield event
        self.complete = True


class Pool:
    """Runs turns on Claude Code processes: at most ``limit`` at once, others wait up to ``wait_s`` for a place."""

    def __init__(
        self,
        spawn: Spawn,
        *,
        limit: int = 8,
        spare: int = 1,
        wait_s: float = 60.0,
        timeout_s: float = 600.0,
        idle_timeout_s: float = 300.0,
    ) -> None:
        self._spawn = spawn
        self._places = asyncio.Semaphore(limit)
        self._spare_target = spare
        self._wait_s = wait_s
        self._timeout_s = timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._spare: deque[ClaudeProcess] = deque()
        # Every process that is not known to be gone: a task that is cancelled before its first step ends nothing.
        self._processes: set[ClaudeProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._open = False

    def __repr__(self) -> str:
        return f"<Pool places={self._places!r} spare={list(self._spare)}>"

    @property
    def spare(self) -> tuple[ClaudeProcess, ...]:
        """The processes that wait."""
        return tuple(self._spare)

    async def __aenter__(self) -> Self:
        self._open = True
        self._refill()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._stop(process) for process in self._processes), return_exceptions=True)
        self._spare.clear()

    @contextlib.asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Play]:
        """Play a turn.

        Raises ClaudeError: ``busy`` when no place came free, ``timeout_error`` past the turn's limit.
        """
        limit_s = min(turn.timeout_s or self._timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit_s) as deadline, self._place(), self._playing(turn) as play:
                yield play
        except TimeoutError:
            if not deadline.expired():
                raise
            raise ClaudeError("timeout_error", detail=f"the turn took longer than {limit_s:g} s") from None

    @contextlib.asynccontextmanager
    async def _playing(self, turn: Turn) -> AsyncIterator[Play]:
        began = time.monotonic()
        process = await self._take()
        # Not before: a boot takes a processor for half a second, and the person waits for the first token.
        play = Play(process, turn, self._refill)
        outcome = Outcome("cancelled", process.how)
        try:
            yield play
        except ClaudeError as error:
            outcome = Outcome("failed", process.how, error=error)
            raise
        finally:
            self._refill()
            if play.complete and not process.cut:
                self._in_background(self._settle(process, began), f"settle {process!r}")
            else:
                await self._stop(process)
                self._log_end(process, Outcome("cut", process.how) if play.complete else outcome, began)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_s) as waited:
                await self._places.acquire()
        except TimeoutError:
            if not waited.expired():
                raise
            raise ClaudeError("busy", retry_after_s=1) from None
        try:
            yield
        finally:
            self._places.release()

    async def _take(self) -> ClaudeProcess:
        return await self._warm() if plan(self._spare) == "warm" else await self._cold()

    async def _warm(self) -> ClaudeProcess:
        while not self._spare[0].alive:
            await self._stop(self._spare.popleft())
        process = self._spare.popleft()
        process.how = "warm"
        return process

    async def _cold(self) -> ClaudeProcess:
        process = ClaudeProcess(self._spawn, idle_timeout_s=self._idle_timeout_s)
        self._processes.add(process)
        try:
            await process.start()
        except BaseException:
            await self._stop(process)
            raise
        return process

    async def _stop(self, process: ClaudeProcess) -> None:
        await process.stop()
        self._processes.discard(process)

    def _refill(self) -> None:
        if self._open and len(self._spare) + self._starting < self._spare_target:
            self._starting += 1
            self._in_background(self._add_spare(), "start a spare process")

    async def _add_spare(self) -> None:
        try:
            process = await self._cold()
        except ClaudeError as error:
            # The next turn will start one itself and tell its client what is wrong.
            log.warning("no spare Claude Code process could be started: %s %s", error.kind, error.detail)
        else:
            self._spare.append(process)
        finally:
            self._starting -= 1

    async def _settle(self, process: ClaudeProcess, began: float) -> None:
        try:
            with contextlib.suppress(TimeoutError, ClaudeError):
                async with asyncio.timeout(SETTLE_S):
                    await process.settle()
        finally:
            await self._stop(process)
        self._log_end(process, Outcome("finished", process.how, cost_usd=process.cost_usd), began)

    def _log_end(self, process: ClaudeProcess, outcome: Outcome, began: float) -> None:
        after_s = time.monotonic() - began
        log.debug("%r: turn %s after %.3f s, cost %s USD", process, outcome.how, after_s, outcome.cost_usd)
        if outcome.error is not None:
            log.warning("Claude's side failed: %s (%s)", outcome.error.kind, outcome.error.detail)

    def _in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
