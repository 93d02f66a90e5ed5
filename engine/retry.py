"""Retries a turn, as long as no part of its answer was passed on.

Failures that may be over soon are retried: a rate limit, an overloaded or failing API, a lost connection, and a process
that ended before its answer. The pause is the API's ``retry-after``, or it doubles with each try. It has jitter, so
that turns that failed together are not retried together. After the first event there is no retry, because the app would
see the beginning twice.

A request is also tried again if the API could not compile its schemas: once, without strict tools and with the output
format in words. An app cannot know that limit, and OpenAI would have answered.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from engine import Engine, Event, Outcome, Process, Running
from engine.errors import ClaudeError
from engine.progress import FIRST_S, Progress, Wait
from engine.reach import Reach
from translate.errors import Kind
from translate.turn import Turn
from translate.usage import MessageUsage

log = logging.getLogger(__name__)

# Failures that may be over soon.
PASSING: frozenset[Kind] = frozenset(
    {"rate_limit_error", "overloaded_error", "api_error", "connection_error", "timeout_error"}
)

# The API's words if it cannot compile the schemas of a request. It counts strict tools, optional parameters and union
# types, and it limits the size of the compiled grammar, which nobody else can compute. It may also refuse a keyword
# that translate/json_schema.py takes for a known one. Whether it accepts any name of a property in the output format is
# not documented. For tools it does not (:mod:`engine.renaming`).
# Source: https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs, and the messages in public issues.
TOO_COMPLEX = re.compile(
    r"compiled grammar is too large|schema is too complex|grammar compilation timed out|too many strict tools"
    r"|too many optional parameters|too many parameters with union types|property keys should match pattern"
    r"|for '\w+' type, |schema type '[^']*' is not supported|keyword '[^']*' is not supported|invalid schema"
    r"|unsupported schema|recursive schemas|circular reference|external \$ref",
    re.IGNORECASE,
)

# So many sets of schemas that the API could not compile are remembered, so that the next turn does not try them again.
MAX_REMEMBERED = 256

# The pause before the second try, and the longest, in seconds.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0


class Retrying:
    """An engine that retries turns of another engine, up to ``retries`` times within a turn's time limit.

    The limit is at most ``timeout_s``. Each failed try is logged, and each turn that waits for longer than ``first_s``
    seconds. ``reach`` is the API's address.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        retries: int = 2,
        timeout_s: float = 600.0,
        reach: Reach | None = None,
        first_s: float = FIRST_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self.retries = retries
        self.timeout_s = timeout_s
        self.jitter = jitter
        self.reach = reach
        self.first_s = first_s
        self.counts: Counter[str] = Counter()
        """The number of retries for each kind of failure."""
        self._too_complex: OrderedDict[bytes, None] = OrderedDict()

    def is_too_complex(self, turn: Turn) -> bool:
        """Whether the API could not compile the schemas of a turn like this one."""
        return bool(self._too_complex) and turn.fallback is not None and _schemas(turn) in self._too_complex

    def remember_too_complex(self, turn: Turn) -> None:
        """Note that the API could not compile the schemas of this turn."""
        self._too_complex[_schemas(turn)] = None
        if len(self._too_complex) > MAX_REMEMBERED:
            self._too_complex.popitem(last=False)

    def status(self) -> dict[str, Any]:
        """Return the engine's state, and the number of retries for each kind of failure."""
        return {**self._engine.status(), "retries": dict(sorted(self.counts.items()))}

    @contextlib.asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator["Tries"]:
        """Play a turn. Raises ClaudeError if the last try fails."""
        limit_s = min(turn.timeout_s or self.timeout_s, self.timeout_s)
        host = self.reach.name if self.reach is not None else ""
        progress = Progress(tries=self.retries + 1, host=host, first_s=self.first_s)
        tries = Tries(self, self._engine, turn, progress, deadline=time.monotonic() + limit_s)
        with progress:
            async with aclosing(tries):
                yield tries


class Tries:
    """One turn that is being played, in one or more tries. Iterate over it once."""

    def __init__(self, policy: Retrying, engine: Engine, turn: Turn, progress: Progress, *, deadline: float) -> None:
        self._policy = policy
        self._progress = progress
        self._engine = engine
        self._turn = turn
        self.ignored: Sequence[str] = ()
        if policy.is_too_complex(turn):
            self._drop_grammar()
        self._deadline = deadline
        self._running: Running | None = None
        self._tried: list[Running] = []
        self._events = self._play()
        self.retries = 0

    @property
    def process(self) -> Process:
        """How the present try got its process."""
        return self._running.process if self._running else ""

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet."""
        return self._running.backlog if self._running else 0

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """The token usage of each of Claude's messages, in all tries."""
        return [message for running in self._tried for message in running.messages]

    @property
    def complete(self) -> bool:
        """Whether the answer was read up to its stop reason."""
        return self._running is not None and self._running.complete

    @property
    def ended(self) -> Awaitable[Outcome]:
        """How the last try ended."""
        return self._running.ended if self._running else _never()

    async def aclose(self) -> None:
        """End the present try."""
        await self._events.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        """Return the events of the first try that gets an answer. Raises ClaudeError."""
        return self._events

    async def _play(self) -> AsyncGenerator[Event]:
        progress = self._progress
        while True:
            began = False
            left_s = self._deadline - time.monotonic()
            progress.begin_try(self.retries + 1)
            try:
                async with self._engine.run(replace(self._turn, timeout_s=left_s)) as self._running:
                    self._tried.append(self._running)
                    async for event in self._running:
                        began = True
                        if event.get("type") == "ping":  # it is no part of the answer
                            yield event
                            continue
                        progress.on(Wait.READER)
                        yield event
                        progress.heard(event)
            except ClaudeError as error:
                if error.kind == "connection_error" and self._policy.reach is not None:
                    error.detail = await self._policy.reach.why()
                if error.kind == "not_found_error" and error.reason is None:
                    error.reason = self._turn.model  # the app may have asked for another model name
                too_complex = not began and self._turn.fallback is not None and _is_too_complex(error)
                pause_s = None if began else 0.0 if too_complex else self._pause_s(error)
                only_try = not self.retries and error.kind not in PASSING and error.kind != "cli_failed"
                told = progress.describe_failure(error, only_try=only_try)
                if pause_s is None:
                    log.warning("%s%s", told, "" if only_try else "; not tried again")
                    raise
                log.info("%s; tried again in %.1f s", told, pause_s)
                if too_complex:
                    self._policy.remember_too_complex(self._turn)
                    self._drop_grammar()
                else:
                    self.retries += 1
                self._policy.counts[error.kind] += 1
                progress.on(Wait.RETRY)
                # The try has left its place in the pool, so other turns can run during the pause.
                await asyncio.sleep(pause_s)
            else:
                return

    def _drop_grammar(self) -> None:
        if self._turn.fallback is not None:
            self.ignored = self._turn.fallback.params
            self._turn = self._turn.without_grammar()
            log.info("Claude's API cannot compile the schemas, so Claude is not held to them")

    def _pause_s(self, error: ClaudeError) -> float | None:
        """Return the pause before the next try; None if there is no next try."""
        if self.retries >= self._policy.retries:
            return None
        if error.kind == "cli_failed" and self._running is not None and self._running.process != "cold":
            # Another process may work, because this one was used before or has waited for long.
            return 0.0
        if error.kind not in PASSING:
            return None
        usual = min(FIRST_PAUSE_S * 2**self.retries, LONGEST_PAUSE_S)
        pause_s = max(float(error.retry_after_s or 0), usual) * (1 + self._policy.jitter() / 4)
        return pause_s if time.monotonic() + pause_s < self._deadline else None


def _is_too_complex(error: ClaudeError) -> bool:
    return error.kind == "invalid_request_error" and TOO_COMPLEX.search(error.detail) is not None


def _schemas(turn: Turn) -> bytes:
    """Return a digest of all that the API compiles for a turn."""
    strict = [tool for tool in turn.tools if tool.get("strict") is True]
    return hashlib.sha256(msgspec.json.encode([turn.model, strict, turn.output_format])).digest()


async def _never() -> Outcome:
    return Outcome("cancelled", "")
