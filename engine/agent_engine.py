"""Plays the turns of agents. Each turn has a process of its own, which ends with the answer.

An agent's process has tools and a working folder. So no other conversation ever uses it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from typing import Any

from engine import Ending, Event, Outcome, Process, Running
from engine.agent_events import OneAnswer
from engine.agents import Agent
from engine.cost_check import CostCheck, ProcessCosts
from engine.errors import ClaudeError
from engine.flags import flag_settings
from engine.messages import said, user
from engine.places import Places
from engine.progress import Progress, Wait
from engine.reach import Reach
from engine.reports import Told, failed, retry_announced
from engine.sdk import AssistantMessage, Connection, ResultMessage, StreamEvent, SystemMessage, sdk_errors
from engine.spawn import Spawn
from engine.watchdog import Watchdog
from translate.long_work import weight
from translate.turn import Message, Turn
from translate.usage import MessageUsage, UsageReader

log = logging.getLogger(__name__)

# The `subtype` of a result whose run ended because it had reached one of its limits.
ENOUGH = frozenset({"error_max_turns", "error_max_budget_usd"})

# How long a process may take to end its commands and itself. Usually this takes a few milliseconds.
TERMINATE_S = 5.0


class AgentEngine:
    """The engine of one agent (:class:`engine.Engine`). Use it in an ``async with``."""

    def __init__(
        self,
        agent: Agent,
        spawn: Spawn,
        *,
        limit: int,
        max_waiting: int,
        wait_s: float,
        timeout_s: float,
        kept: int = 0,
        cost_check: CostCheck | None = None,
        reach: Reach | None = None,
    ) -> None:
        self.agent = agent
        self._cost_check = cost_check or CostCheck()
        self._reach = reach
        # With --bare, Claude Code has only three of its tools (fact F2).
        self._spawn = replace(spawn, cwd=agent.cwd, agent=agent, bare=False)
        self._places = Places(limit, max_waiting=max_waiting, wait_s=wait_s, kept=kept)
        self._timeout_s = timeout_s
        self._watchdog = Watchdog()
        self._running: set[_AgentRun] = set()

    async def __aenter__(self) -> "AgentEngine":
        await self._watchdog.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for run in tuple(self._running):
            await run.stop()
        await self._watchdog.__aexit__()

    def status(self) -> dict[str, Any]:
        """Return how many turns run and how many wait."""
        return {"running": self._places.taken, "waiting": self._places.waiting}

    @contextlib.asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Play a turn. If the context is left before the end, the process and its commands end too."""
        with Progress(host=self._reach.name if self._reach is not None else "") as progress:
            try:
                async with self._process(turn, progress) as run:
                    yield run
            except ClaudeError as error:
                if error.kind == "connection_error" and self._reach is not None:
                    error.detail = await self._reach.why()
                log.warning("%s; a turn of an agent is not retried", progress.describe_failure(error))
                raise

    @contextlib.asynccontextmanager
    async def _process(self, turn: Turn, progress: Progress) -> AsyncIterator["_AgentRun"]:
        timeout_s = min(self._timeout_s, turn.timeout_s or self._timeout_s)
        async with self._places.place(turn.client):
            progress.on(Wait.READY)
            run = _AgentRun(self.agent, self._spawn, turn, progress, timeout_s, self._cost_check)
            self._running.add(run)
            try:
                with sdk_errors():
                    await run.start()
                if run.pid is not None:
                    self._watchdog.watch(run.pid)
                yield run
            finally:
                await asyncio.shield(run.stop())
                self._running.discard(run)
                if run.pid is not None:
                    self._watchdog.forget(run.pid)


class _AgentRun:
    """One turn of an agent that is being played."""

    process: Process = "agent"
    retries = 0
    ignored: Sequence[str] = ()

    def __init__(
        self, agent: Agent, spawn: Spawn, turn: Turn, progress: Progress, timeout_s: float, cost_check: CostCheck
    ) -> None:
        self._agent = agent
        self._progress = progress
        self._turn = turn
        self._timeout_s = timeout_s
        self._told = UsageReader()
        self._unheard: list[MessageUsage] = []
        self._costs = ProcessCosts(cost_check, asks_more=True)
        self._connection = Connection(spawn, self._on_stderr, self._told.feed)
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.complete = False

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """The token usage of each of Claude's messages, and of the requests that its tools made to the API."""
        return [*self._told.messages, *self._unheard]

    @property
    def pid(self) -> int | None:
        return self._connection.pid

    @property
    def backlog(self) -> int:
        return self._connection.backlog

    @property
    def ended(self) -> Awaitable[Outcome]:
        return self._ended

    async def start(self) -> None:
        await self._connection.start()

    async def stop(self) -> None:
        """End the process and the commands that it runs."""
        try:
            # If the process is killed at once, its commands go on: each runs in a session of its own.
            await self._connection.terminate(TERMINATE_S)
            self._connection.kill()
            with contextlib.suppress(Exception):
                await self._connection.close()
        finally:
            # Not earlier, because the process may still report more tokens.
            self._end("cancelled")

    def _end(self, how: Ending, error: ClaudeError | None = None) -> None:
        if not self._ended.done():
            self._ended.set_result(Outcome(how, "agent", error))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def _events(self) -> AsyncGenerator[Event]:
        answer = OneAnswer(show=self._agent.show)
        try:
            async with asyncio.timeout(self._timeout_s) as until:
                with sdk_errors():
                    await self._ask()
                    self._progress.on(Wait.TOKEN)
                    async with contextlib.aclosing(self._until_result(answer)) as events:
                        async for event in events:
                            self._progress.on(Wait.READER)
                            yield event
                            self._progress.heard(event)
            if not answer.begun:
                raise ClaudeError("cli_failed", detail="a result without an answer")  # noqa: TRY301
            self._end("finished")
            self.complete = True
            yield answer.finish()
        except TimeoutError:
            if not until.expired():
                raise
            error = ClaudeError("timeout", detail=f"the agent {self._agent.name} took more than {self._timeout_s:g} s")
            self._end("failed", error)
            raise error from None
        except ClaudeError as error:
            self._end("failed", error)
            raise

    async def _ask(self) -> None:
        turn = self._turn
        await self._connection.initialize(turn.system)
        settings = flag_settings(replace(turn, tools=(), tool_choice=None), user_id=False, own_tools=True)
        await self._connection.control("apply_flag_settings", settings=settings)
        await self._connection.control("set_max_thinking_tokens", max_thinking_tokens=None if turn.thinking else 0)
        for message in turn.messages[:-1]:
            await self._remember(message)
        question = turn.messages[-1]
        await self._connection.send(weight(question.content), lambda: {"type": "user", "message": user(question)})

    async def _remember(self, message: Message) -> None:
        size, model = weight(message.content), self._turn.model
        if message.role == "assistant":
            await self._connection.send(size, lambda: {"type": "assistant", "message": said(message, model)})
            return
        await self._connection.send(size, lambda: {"type": "user", "message": user(message), "shouldQuery": False})
        # If the next message is sent without waiting, Claude Code merges and reorders them (fact F81).
        while not isinstance(await self._connection.next(), ResultMessage):
            pass

    async def _until_result(self, answer: OneAnswer) -> AsyncGenerator[Event]:
        told = Told()
        while True:
            match await self._connection.next():
                case StreamEvent(event=event):
                    for more in answer.feed(event):
                        yield more
                case SystemMessage(subtype="api_retry", data=data):
                    if not answer.begun:
                        raise retry_announced(data)
                case AssistantMessage(error=str(error)):
                    told = Told(error, self._connection.request_id)
                case ResultMessage() as result:
                    self._unheard = self._costs.result(
                        result.model_usage, self._told.messages, whole=self._told.is_whole
                    )
                    for message in self._unheard:
                        answer.add(message.usage)
                    if result.is_error and result.subtype not in ENOUGH:
                        raise failed(result, told)
                    return
                case _:
                    pass

    def _on_stderr(self, line: str) -> None:
        log.debug("agent %s[%s]: %s", self._agent.name, self.pid, line[:500])
