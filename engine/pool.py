"""The pool of Claude Code processes. :func:`engine.plan.plan` decides which process plays a turn, and the pool does it.

There are five ways to get a process:

- *continued*: an idle process holds the conversation that the turn continues;
- *reused*: an idle process holds another conversation, which is removed from it;
- *warm*: a spare process has booted and waits uninitialised, ready for any system prompt (fact F96);
- *cold*: a process is started for the turn;
- *resumed*: a process is started for the turn, with a long history from a file.

After a turn without problems the process is idle again. In any other case it is ended. There are never more processes
than ``limit``, nor more than the memory allows.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from engine import Event, Outcome, Process
from engine.aside import aside
from engine.conversation import digests_of
from engine.cost_check import CostCheck
from engine.errors import ClaudeError
from engine.late_imports import import_late
from engine.memory import ESTIMATE_BYTES, machine_bytes, total_pss_bytes
from engine.places import Places, owner_in
from engine.plan import How, plan
from engine.progress import Wait, waiting_for
from engine.spawn import Spawn
from engine.tasks import TaskSet
from engine.transcript import Transcript, resumable, transcript
from engine.valve import Valve
from engine.watchdog import Watchdog
from translate.errors import Kind
from translate.money import exact
from translate.prices import cost_of
from translate.turn import Turn, turn_weight
from translate.usage import MessageUsage

if TYPE_CHECKING:
    from engine.process import ClaudeProcess

log = logging.getLogger(__name__)

# The start of a process takes about this long. A spare process does not report when it is ready.
BOOT_S = 0.6

# No spare process is started this soon after the first token of an answer. The start would slow down a short answer.
ANSWER_FIRST_S = 0.3

# The time limit from the start of a program to its answer to `initialize`.
START_S = 30.0

# How often the pool checks idle processes and memory.
HOUSEKEEPING_S = 5.0

# After these failures the state of the process is unknown, so it is ended.
BEYOND_REPAIR: frozenset[Kind] = frozenset(
    {"authentication_error", "not_logged_in", "cli_not_found", "cli_failed", "first_token_timeout", "idle_timeout"}
)

# The default part of the machine's memory for the processes.
MEMORY_SHARE = 0.5


type ProcessState = Literal["starting", "spare", "busy", "settling", "idle", "ending"]


class Play:
    """One turn that is being played. Iterate over it to get its events."""

    retries = 0
    ignored: Sequence[str] = ()

    def __init__(self, pool: "Pool", process: "ClaudeProcess", turn: Turn, digests: Sequence[bytes]) -> None:
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
        """The token usage of each of Claude's messages."""
        return self._told.messages

    def end(self, outcome: Outcome) -> None:
        """Set the outcome, unless it is set."""
        if not self.ended.done():
            self.ended.set_result(outcome)

    async def __aiter__(self) -> AsyncGenerator[Event]:
        """Yield events up to the one with the stop reason. Raises ClaudeError if the turn fails."""
        async with contextlib.aclosing(self._claude.play(self._turn, self._digests)) as events:
            first = True
            async for event in events:
                if first:
                    first = False
                    # Not before the first token, because a user waits for it, and not immediately after it
                    # (ANSWER_FIRST_S).
                    self._pool.refill_later()
                yield event
        self.complete = True


class Pool:
    """Runs turns on Claude Code processes.

    At most ``limit`` turns run at once, and ``max_waiting`` turns wait, each for up to ``wait_s`` seconds. ``kept`` of
    the places are only for clients that have none (:mod:`engine.places`). ``spare`` is the number of spare processes.
    Processes that were idle for ``keep_s`` seconds are ended. ``memory_bytes`` limits the sum of their PSS; None means
    half of the machine's memory. The time limits of a turn are ``timeout_s`` for all of it, ``first_token_timeout_s``
    up to the first event, and ``idle_timeout_s`` between events.
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
        """The memory limit for all processes; None if the size of the machine's memory is unknown."""
        self._memory_used: int | None = None
        if self.memory_bytes is not None:
            self._places.limit = max(1, min(limit, self.memory_bytes // ESTIMATE_BYTES - spare))
        self._spare: deque[ClaudeProcess] = deque()
        # Longest unused first. Processes that are still settling are included.
        self._idle: dict[ClaudeProcess, float] = {}
        self._settling: dict[ClaudeProcess, asyncio.Task[None]] = {}
        # Every process that may still run. The task that ends one may be cancelled before its first step.
        self._processes: set[ClaudeProcess] = set()
        self._ending: set[ClaudeProcess] = set()
        self._tasks = TaskSet()
        # Starts are queued, because twenty at once would each take twenty times as long (fact F92).
        self._boots = asyncio.Semaphore(os.cpu_count() or 1)
        self._refilling = False
        self._open = False
        self._watchdog = Watchdog()
        self._valve = Valve()
        self.counts: Counter[str] = Counter()
        """The number of turns for each way to get a process, and for each outcome."""

    def __repr__(self) -> str:
        return f"<Pool {len(self._processes)} processes, {len(self._idle)} idle, {len(self._spare)} spare>"

    @property
    def spare(self) -> "tuple[ClaudeProcess, ...]":
        """The spare processes, which wait uninitialised."""
        return tuple(self._spare)

    @property
    def idle(self) -> "tuple[ClaudeProcess, ...]":
        """The idle processes, which hold a conversation, longest unused first."""
        return tuple(self._idle)

    def status(self) -> dict[str, Any]:
        """Return the pool's state for people and monitoring. It has numbers and names, and no part of a
        conversation."""
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
            "valve": self._valve.status(),
            "counts": dict(sorted(self.counts.items())),
        }

    async def __aenter__(self) -> Self:
        self._open = True
        await self._watchdog.__aenter__()
        await self._valve.__aenter__()
        self._tasks.start(self._keep_house(), "housekeeping")
        self.refill()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await self._tasks.cancel()
        await asyncio.gather(*(self._stop(process) for process in list(self._processes)), return_exceptions=True)
        self._spare.clear()
        self._idle.clear()
        await self._valve.__aexit__()
        await self._watchdog.__aexit__()

    @contextlib.asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Play]:
        """Play a turn.

        Raises ClaudeError: ``queue_full`` or ``busy`` if there is no place, ``timeout_error`` after the time limit.
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
        digests = await aside(turn_weight(turn), digests_of, turn)
        await import_late("engine.process")
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
        """End all waiting processes. New processes will read the credentials again, which may have changed."""
        for process in (*self._spare, *self._idle):
            self._discard(process)
        self._spare.clear()
        self._idle.clear()

    def refill(self) -> None:
        """Start a spare process in the background, unless there are enough. Only one is started at a time."""
        if self._open and not self._refilling and len(self._spare) < self._spare_target:
            self._refilling = True
            self._tasks.start(self._add_spare(), "start a spare process")

    def refill_later(self) -> None:
        """Start a spare process some time after the beginning of an answer."""
        asyncio.get_running_loop().call_later(ANSWER_FIRST_S, self.refill)

    # Taking.

    async def _take(self, turn: Turn, digests: Sequence[bytes]) -> "ClaudeProcess":
        owner = owner_in(turn.client)
        while True:
            self._drop_dead()
            at_rest = [process for process in self._idle if process not in self._settling]
            choice = plan(
                # Only processes of the same owner. The answer's headers say how the turn got its process. From this an
                # owner could learn that another owner has had the same conversation or system prompt.
                [process for process in self._idle if (process.system, process.owner) == (turn.system, owner)],
                turn.messages,
                digests,
                spare=bool(self._spare),
                # A turn with a place can always have a process: an idle process is ended for it.
                room=self._ordinary() < self._places.limit or bool(at_rest) or not self._settling,
                resumable=resumable(turn.messages) if self._spawn.can_resume else 0,
            )
            process = choice.process if choice else None
            if choice is None or process in self._settling:
                # A settling process is idle within milliseconds. Only then is it known what it holds.
                await asyncio.wait(self._settling.values(), return_when=asyncio.FIRST_COMPLETED)
            elif process is not None:
                del self._idle[process]
                process.how = choice.how
                return process
            else:
                process = await self._another(choice.how, turn, digests)
                process.owner = owner
                return process

    async def _another(self, how: How, turn: Turn, digests: Sequence[bytes]) -> "ClaudeProcess":
        """Return a spare process, or start one."""
        if how == "warm":
            process = self._spare.popleft()
            process.how = how
            self._make_room()
            return process
        self._make_room()
        process = self._new(how)
        count = resumable(turn.messages) if how == "resumed" else 0
        try:
            history = None
            if count:
                messages = turn.messages[:count]
                history = await aside(turn_weight(turn), transcript, messages, digests[:count], turn.model)
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

    def _new(self, how: How) -> "ClaudeProcess":
        # Not at the top of the file: it imports the SDK, which takes half a second. The proxy listens before that, and
        # a replay that asks no Claude does without it.
        from engine.process import ClaudeProcess

        process = ClaudeProcess(
            self._spawn,
            idle_timeout_s=self._idle_timeout_s,
            first_token_timeout_s=self._first_token_timeout_s,
            cost_check=self._cost_check,
            valve=self._valve,
        )
        process.how = how
        self._processes.add(process)
        return process

    async def _begin(self, process: "ClaudeProcess", history: Transcript | None = None) -> None:
        await (process.start() if history is None else process.start_with(history))
        if process.pid is not None:
            self._watchdog.watch(process.pid)

    async def _add_spare(self) -> None:
        await import_late("engine.process")
        process = self._new("warm")
        try:
            async with self._boots:
                await self._begin(process)
                # A turn that needs a process now waits less for this one than for a new one. The next start waits for
                # this one.
                self._spare.append(process)
                self._refilling = False
                await asyncio.sleep(self._boot_s)
        except ClaudeError as error:
            # The next turn will try to start a process itself, and its client will get the error.
            log.warning("no spare Claude Code process could be started: %s %s", error.kind, error.detail)
            self._refilling = False
            self._discard(process)
        except Exception:
            log.exception("no spare Claude Code process could be started")
            self._refilling = False
            self._discard(process)
        else:
            self.refill()

    def _ordinary(self) -> int:
        """Return the number of processes without spare ones and without those that are being ended."""
        return len(self._processes) - len(self._ending) - len(self._spare) - self._refilling

    def _make_room(self) -> None:
        """End idle processes, longest unused first, until there is room for one more."""
        for process in [process for process in self._idle if process not in self._settling]:
            if self._ordinary() < self._places.limit:
                return
            self._discard(process)

    def _drop_dead(self) -> None:
        for process in [process for process in (*self._idle, *self._spare) if not process.alive]:
            log.info("%r has ended unexpectedly", process)
            self._discard(process)

    # Giving back.

    def _give_back(self, play: Play, process: "ClaudeProcess", turn: Turn, outcome: Outcome, began: float) -> None:
        self.counts[outcome.process] += 1
        if not process.alive or (outcome.error is not None and outcome.error.kind in BEYOND_REPAIR):
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
        self, play: Play, process: "ClaudeProcess", turn: Turn, outcome: Outcome, began: float
    ) -> None:
        try:
            if outcome.how in ("finished", "cut"):
                await process.settle(turn.model)
            else:
                await process.abandon()
        except ClaudeError as error:
            log.debug("%r is ended: %s %s", process, error.kind, error.detail)
            self._discard(process)
        except Exception:
            log.exception("%r is ended", process)
            self._discard(process)
        finally:
            self._settling.pop(process, None)
            self._end(play, process, outcome, began)

    def _discard(self, process: "ClaudeProcess") -> None:
        """End a process, in the background."""
        self._idle.pop(process, None)
        with contextlib.suppress(ValueError):
            self._spare.remove(process)
        if process not in self._ending:
            self._ending.add(process)
            process.kill()
            self._tasks.start(self._stop(process), f"stop {process!r}")

    async def _stop(self, process: "ClaudeProcess") -> None:
        pid = process.pid
        await process.stop()
        if pid is not None:
            self._watchdog.forget(pid)
        self._processes.discard(process)
        self._ending.discard(process)

    def _end(self, play: Play, process: "ClaudeProcess", outcome: Outcome, began: float) -> None:
        play.end(outcome)
        self.counts[outcome.how] += 1
        after_s = time.monotonic() - began
        usd = cost_of(play.messages)
        cost = "at an unknown price" if usd is None else f"{exact(usd)} USD"
        api = "" if process.api_wait_s is None else f" (the API began to answer after {process.api_wait_s:.3f} s)"
        log.debug("%r: turn %s after %.3f s%s, %s", process, outcome.how, after_s, api, cost)

    # Housekeeping.

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await self.keep_house()

    async def keep_house(self) -> None:
        """End processes that were idle for too long, and idle processes that do not fit into the memory."""
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

    def _describe(self, process: "ClaudeProcess", now: float) -> dict[str, Any]:
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
