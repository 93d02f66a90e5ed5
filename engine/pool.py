"""The processes: :func:`engine.plan.plan` decides which one plays a turn, :class:`Pool` acts.

A process comes from one of three places: it waits with a conversation that the turn goes on with (*continued*) or that
is taken off it (*reused*); it waits booted but uninitialised, ready for any system prompt (*warm*, fact F96); or it is
started for the turn (*cold*, or *resumed* when it is given a long history to begin with). After a clean turn it waits
again; after anything in doubt it is ended. There are never more than ``limit``, nor more than the memory allows.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal, Self

from engine import Event, Outcome, Process
from engine.conversation import digest
from engine.cost_check import CostCheck
from engine.errors import ClaudeError
from engine.memory import ESTIMATE_BYTES, machine_bytes, total_pss_bytes
from engine.places import Places, owner_in
from engine.plan import How, plan
from engine.process import ClaudeProcess
from engine.progress import Wait, waiting_for
from engine.sdk import Spawn
from engine.tasks import TaskSet
from engine.transcript import Transcript, resumable, transcript
from engine.watchdog import Watchdog
from translate.errors import Kind
from translate.money import exact
from translate.prices import cost_of
from translate.turn import Turn
from translate.usage import MessageUsage

log = logging.getLogger(__name__)

# A boot takes a processor for about this long, and nobody knows when a spare one has finished.
BOOT_S = 0.6

# How long after its first token an answer has the processors for itself. A boot amid a short one would make it stutter,
# and have us see its end later than Claude Code, which may then ask again (fact F43).
ANSWER_FIRST_S = 0.3

# How long a program may take from its start to its answer to `initialize`.
START_S = 30.0

# How often idle processes and the memory are looked at.
HOUSEKEEPING_S = 5.0

# After these nobody knows what the process is doing.
BEYOND_REPAIR: frozenset[Kind] = frozenset(
    {"authentication_error", "not_logged_in", "cli_not_found", "cli_failed", "first_token_timeout", "idle_timeout"}
)

# By default the processes may have this part of the machine's memory.
MEMORY_SHARE = 0.5


type ProcessState = Literal["starting", "spare", "busy", "settling", "idle", "ending"]


class Play:
    """One turn being played. Iterate for its events."""

    retries = 0

    def __init__(self, pool: "Pool", process: ClaudeProcess, turn: Turn, digests: Sequence[bytes]) -> None:
        self._pool = pool
        self._claude = process
        self._turn = turn
        self._digests = digests
        self.process: Process = process.how
        self.complete = False
        self._told = process.count_anew()
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet."""
        return self._claude.backlog

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """What Claude has told of the tokens of each of its messages."""
        return self._told.messages

    def end(self, outcome: Outcome) -> None:
        """Say how it ended, unless that was said."""
        if not self.ended.done():
            self.ended.set_result(outcome)

    async def __aiter__(self) -> AsyncGenerator[Event]:
        """Yield events until the stop reason has come. Raises ClaudeError when the turn fails."""
        async with contextlib.aclosing(self._claude.play(self._turn, self._digests)) as events:
            first = True
            async for event in events:
                if first:
                    first = False
                    # Not before: a person waits for the first token, and not at once (ANSWER_FIRST_S).
                    self._pool.refill_later()
                yield event
        self.complete = True


class Pool:
    """Runs turns on Claude Code processes.

    At most ``limit`` run at once and ``max_waiting`` wait, each up to ``wait_s``; ``kept`` of the limit are only for
    clients of which none runs (:mod:`engine.places`). ``spare`` wait booted; processes idle for ``keep_s`` are ended.
    ``memory_bytes`` bounds the sum of their PSS (None: half of the machine's). The limits of a turn: ``timeout_s`` in
    all, ``first_token_timeout_s`` to its first event, ``idle_timeout_s`` between events.
    """

    def __init__(
        self,
        spawn: Spawn,
        *,
        limit: int = 8,
        spare: int = 1,
        max_waiting: int = 100,
        wait_s: float = 60.0,
        timeout_s: float = 600.0,
        first_token_timeout_s: float = 300.0,
        idle_timeout_s: float = 300.0,
        keep_s: float = 600.0,
        memory_bytes: int | None = None,
        boot_s: float = BOOT_S,
        kept: int = 0,
        cost_check: CostCheck | None = None,
    ) -> None:
        self._spawn = spawn
        self._cost_check = cost_check or CostCheck()
        self._limit = limit
        self._places = Places(limit, max_waiting=max_waiting, wait_s=wait_s, kept=kept)
        self._spare_target = spare
        self._timeout_s = timeout_s
        self._first_token_timeout_s = first_token_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._keep_s = keep_s
        self._boot_s = boot_s
        share = machine_bytes()
        self.memory_bytes = memory_bytes or (int(share * MEMORY_SHARE) if share else None)
        """What the processes may take together; None where the machine does not tell what it has."""
        self._memory_used: int | None = None
        if self.memory_bytes is not None:
            self._places.limit = max(1, min(limit, self.memory_bytes // ESTIMATE_BYTES - spare))
        self._spare: deque[ClaudeProcess] = deque()
        # Longest unused first; those that are still settling are among them.
        self._idle: dict[ClaudeProcess, float] = {}
        self._settling: dict[ClaudeProcess, asyncio.Task[None]] = {}
        # Every process that is not known to be gone: a task that is cancelled before its first step ends nothing.
        self._processes: set[ClaudeProcess] = set()
        self._ending: set[ClaudeProcess] = set()
        self._tasks = TaskSet()
        # Boots are queued: twenty at once would each take twenty times as long (fact F92).
        self._boots = asyncio.Semaphore(os.cpu_count() or 1)
        self._refilling = False
        self._open = False
        self._watchdog = Watchdog()
        self.counts: Counter[str] = Counter()
        """Turns by how their process came about, and by how they ended."""

    def __repr__(self) -> str:
        return f"<Pool {len(self._processes)} processes, {len(self._idle)} idle, {len(self._spare)} spare>"

    @property
    def spare(self) -> tuple[ClaudeProcess, ...]:
        """The processes that wait uninitialised."""
        return tuple(self._spare)

    @property
    def idle(self) -> tuple[ClaudeProcess, ...]:
        """The processes that wait with a conversation, longest unused first."""
        return tuple(self._idle)

    def status(self) -> dict[str, Any]:
        """Return the pool's state for people and monitors: numbers and names, nothing of any conversation."""
        now = time.monotonic()
        return {
            "processes": [
                self._describe(process, now) for process in sorted(self._processes, key=lambda p: p.pid or 0)
            ],
            "limit": self._places.limit,
            "running": self._places.taken,
            "waiting": self._places.waiting,
            "memory_bytes": self._memory_used,
            "memory_limit_bytes": self.memory_bytes,
            "watchdog": self._watchdog.active,
            "counts": dict(sorted(self.counts.items())),
        }

    async def __aenter__(self) -> Self:
        self._open = True
        await self._watchdog.__aenter__()
        self._tasks.start(self._keep_house(), "housekeeping")
        self.refill()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await self._tasks.cancel()
        await asyncio.gather(*(self._stop(process) for process in list(self._processes)), return_exceptions=True)
        self._spare.clear()
        self._idle.clear()
        await self._watchdog.__aexit__()

    @contextlib.asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Play]:
        """Play a turn.

        Raises ClaudeError: ``queue_full`` or ``busy`` when there is no place, ``timeout_error`` past the turn's limit.
        """
        limit_s = min(turn.timeout_s or self._timeout_s, self._timeout_s)
        try:
            async with (
                asyncio.timeout(limit_s) as deadline,
                self._places.place(turn.client),
                self._playing(turn) as play,
            ):
                yield play
        except TimeoutError:
            if not deadline.expired():
                raise
            raise ClaudeError("timeout_error", detail=f"the turn took longer than {limit_s:.3g} s") from None

    @contextlib.asynccontextmanager
    async def _playing(self, turn: Turn) -> AsyncIterator[Play]:
        began = time.monotonic()
        waiting_for(Wait.READY)
        digests = [digest(message, turn.model) for message in turn.messages]
        process = await self._take(turn, digests)
        play = Play(self, process, turn, digests)
        outcome = Outcome("cancelled", process.how)
        try:
            yield play
        except ClaudeError as error:
            outcome = Outcome("failed", process.how, error=error)
            if error.kind in ("authentication_error", "not_logged_in"):
                self._retire()
            raise
        finally:
            if play.complete:
                outcome = Outcome("cut" if process.cut else "finished", process.how)
            self._give_back(play, process, turn, outcome, began)
            self.refill()

    def _retire(self) -> None:
        """End every process that waits: a new one reads the credentials anew, which may be others by then."""
        for process in (*self._spare, *self._idle):
            self._discard(process)
        self._spare.clear()
        self._idle.clear()

    def refill(self) -> None:
        """Start a spare process in the background unless there are enough; one at a time."""
        if self._open and not self._refilling and len(self._spare) < self._spare_target:
            self._refilling = True
            self._tasks.start(self._add_spare(), "start a spare process")

    def refill_later(self) -> None:
        """Start one when the answer that has begun now has come for a while, if its end has not started one before."""
        asyncio.get_running_loop().call_later(ANSWER_FIRST_S, self.refill)

    # Taking.

    async def _take(self, turn: Turn, digests: Sequence[bytes]) -> ClaudeProcess:
        owner = owner_in(turn.client)
        while True:
            self._drop_dead()
            at_rest = [process for process in self._idle if process not in self._settling]
            choice = plan(
                # Of the same owner alone: how a process came to a turn is told, and nobody is to learn by it what
                # another has said. That a conversation or a system prompt is known here would be enough.
                [process for process in self._idle if (process.system, process.owner) == (turn.system, owner)],
                turn.messages,
                digests,
                spare=bool(self._spare),
                # Whoever has a place may have a process: one at rest gives way.
                room=self._ordinary() < self._places.limit or bool(at_rest) or not self._settling,
                resumable=resumable(turn.messages) if self._spawn.can_resume else 0,
            )
            process = choice.process if choice else None
            if choice is None or process in self._settling:
                # What is not at rest yet will be within milliseconds, and only then is it known what it holds.
                await asyncio.wait(self._settling.values(), return_when=asyncio.FIRST_COMPLETED)
            elif process is not None:
                del self._idle[process]
                process.how = choice.how
                return process
            else:
                process = await self._another(choice.how, turn, digests)
                process.owner = owner
                return process

    async def _another(self, how: How, turn: Turn, digests: Sequence[bytes]) -> ClaudeProcess:
        """Return a process that holds nothing: a spare one, or one that is started now."""
        if how == "warm":
            process = self._spare.popleft()
            process.how = how
            self._make_room()
            return process
        self._make_room()
        process = self._new(how)
        count = resumable(turn.messages) if how == "resumed" else 0
        history = transcript(turn.messages[:count], digests[:count], turn.model) if count else None
        try:
            async with self._boots, asyncio.timeout(START_S):
                await self._begin(process, history)
                await process.initialize(turn)
        except TimeoutError:
            self._discard(process)
            raise ClaudeError("cli_failed", detail=f"the program did not start within {START_S:g} s") from None
        except BaseException:
            self._discard(process)
            raise
        return process

    def _new(self, how: How) -> ClaudeProcess:
        process = ClaudeProcess(
            self._spawn,
            idle_timeout_s=self._idle_timeout_s,
            first_token_timeout_s=self._first_token_timeout_s,
            cost_check=self._cost_check,
        )
        process.how = how
        self._processes.add(process)
        return process

    async def _begin(self, process: ClaudeProcess, history: Transcript | None = None) -> None:
        await (process.start() if history is None else process.start_with(history))
        if process.pid is not None:
            self._watchdog.watch(process.pid)

    async def _add_spare(self) -> None:
        process = self._new("warm")
        try:
            async with self._boots:
                await self._begin(process)
                # Whoever needs it now waits less than for one of its own. The next boot waits until this one is over.
                self._spare.append(process)
                self._refilling = False
                await asyncio.sleep(self._boot_s)
        except ClaudeError as error:
            # The next turn will start one itself and tell its client what is wrong.
            log.warning("no spare Claude Code process could be started: %s %s", error.kind, error.detail)
            self._refilling = False
            self._discard(process)
        else:
            self.refill()

    def _ordinary(self) -> int:
        """How many processes there are beside the spare ones and those that are being ended."""
        return len(self._processes) - len(self._ending) - len(self._spare) - self._refilling

    def _make_room(self) -> None:
        """End idle processes, longest unused first, so that one more is not too many."""
        for process in [process for process in self._idle if process not in self._settling]:
            if self._ordinary() < self._places.limit:
                return
            self._discard(process)

    def _drop_dead(self) -> None:
        for process in [process for process in (*self._idle, *self._spare) if not process.alive]:
            log.info("%r has ended by itself", process)
            self._discard(process)

    # Giving back.

    def _give_back(self, play: Play, process: ClaudeProcess, turn: Turn, outcome: Outcome, began: float) -> None:
        self.counts[outcome.process] += 1
        if outcome.how == "cut" or (outcome.error is not None and outcome.error.kind in BEYOND_REPAIR):
            self._discard(process)
            self._end(play, process, outcome, began)
            return
        self._idle[process] = time.monotonic()
        work = self._bring_to_rest(play, process, turn, outcome, began)
        task = self._tasks.start(work, f"settle {process!r}")
        # A task that is cancelled before its first step runs nothing, and somebody may wait for the outcome.
        task.add_done_callback(lambda _: play.end(outcome))
        self._settling[process] = task

    async def _bring_to_rest(
        self, play: Play, process: ClaudeProcess, turn: Turn, outcome: Outcome, began: float
    ) -> None:
        try:
            if outcome.how == "finished":
                await process.settle(turn.model)
            else:
                await process.abandon()
        except ClaudeError as error:
            log.debug("%r is ended: %s %s", process, error.kind, error.detail)
            self._discard(process)
        finally:
            self._settling.pop(process, None)
            self._end(play, process, outcome, began)

    def _discard(self, process: ClaudeProcess) -> None:
        """End a process, in the background."""
        self._idle.pop(process, None)
        with contextlib.suppress(ValueError):
            self._spare.remove(process)
        if process not in self._ending:
            self._ending.add(process)
            process.kill()
            self._tasks.start(self._stop(process), f"stop {process!r}")

    async def _stop(self, process: ClaudeProcess) -> None:
        pid = process.pid
        await process.stop()
        if pid is not None:
            self._watchdog.forget(pid)
        self._processes.discard(process)
        self._ending.discard(process)

    def _end(self, play: Play, process: ClaudeProcess, outcome: Outcome, began: float) -> None:
        play.end(outcome)
        self.counts[outcome.how] += 1
        after_s = time.monotonic() - began
        usd = cost_of(play.messages)
        cost = "at an unknown price" if usd is None else f"{exact(usd)} USD"
        log.debug("%r: turn %s after %.3f s, %s", process, outcome.how, after_s, cost)

    # Housekeeping.

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await self.keep_house()

    async def keep_house(self) -> None:
        """End what has been idle for too long, and see that all fit into the memory."""
        self._drop_dead()
        oldest = time.monotonic() - self._keep_s
        for process in [process for process, since in self._idle.items() if since < oldest]:
            if process not in self._settling:
                self._discard(process)
        running = [process.pid for process in self._processes if process.pid is not None and process.alive]
        self._memory_used = await asyncio.to_thread(total_pss_bytes, running) if running else 0
        if self.memory_bytes is not None and self._memory_used:
            each = max(self._memory_used / len(running), 1)
            self._places.limit = max(1, min(self._limit, int(self.memory_bytes / each) - self._spare_target))
            for process in [p for p in (*self._idle, *self._spare) if p not in self._settling]:
                if self._memory_used <= self.memory_bytes:
                    break
                self._memory_used -= int(each)
                self._discard(process)

    def _describe(self, process: ClaudeProcess, now: float) -> dict[str, Any]:
        state: ProcessState
        if process in self._spare:
            state = "spare"
        elif process in self._ending:
            state = "ending"
        elif process in self._settling:
            state = "settling"
        else:
            state = "idle" if process in self._idle else "busy" if process.initialized else "starting"
        idle_s = round(now - self._idle[process], 1) if state == "idle" else None
        return {
            "pid": process.pid,
            "state": state,
            "came": process.how,
            "turns": process.turns,
            "messages": len(process.held),
            "idle_s": idle_s,
        }
