"""A turn is tried again only before its first event, only for what passes, and only within its time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine import ClaudeError, Event, Outcome, Process
from engine.retry import Retrying
from translate.errors import Kind
from translate.turn import Message, Turn
from translate.usage import MessageUsage, UsageReader

pytestmark = pytest.mark.anyio

GUARD_S = 30
HELLO = Turn("haiku", (Message("user", ({"type": "text", "text": "Hello"},)),))
EVENT: Event = {"type": "message_start"}


class Playing:
    retries = 0
    backlog = 3

    @property
    async def ended(self) -> Outcome:
        return Outcome("finished", self.process)

    @property
    def messages(self) -> Sequence[MessageUsage]:
        return self._told.messages

    def __init__(self, script: Sequence[Event | ClaudeError], process: Process) -> None:
        self._script = script
        self._told = UsageReader()
        self.process = process
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        for step in self._script:
            if isinstance(step, ClaudeError):
                raise step
            self._told.feed(step)
            yield step
        self.complete = True


class Scripted:
    """Plays one script a try; notes what each try was left with."""

    def __init__(self, *scripts: Sequence[Event | ClaudeError], process: Process = "cold") -> None:
        self._scripts = list(scripts)
        self._process = process
        self.left: list[str | None] = []
        self.turns: list[Turn] = []
        self.played: list[Playing] = []

    def status(self) -> dict[str, Any]:
        return {"turns": len(self.turns)}

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Playing]:
        self.turns.append(turn)
        self.played.append(Playing(self._scripts.pop(0), self._process))
        try:
            yield self.played[-1]
        except ClaudeError as error:
            self.left.append(error.kind)
            raise
        else:
            self.left.append(None)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are made, and make none."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("engine.retry.asyncio.sleep", sleep)
    return made


async def play(engine: Retrying, turn: Turn = HELLO) -> tuple[list[Event], int]:
    async with engine.run(turn) as running:
        events = [event async for event in running]
    return events, running.retries


@pytest.mark.parametrize(
    "kind", ["rate_limit_error", "overloaded_error", "api_error", "connection_error", "timeout_error"]
)
async def test_a_temporary_error_is_retried(kind: Kind, pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError(kind)], [ClaudeError(kind)], [EVENT])
    engine = Retrying(scripted, retries=2, jitter=lambda: 0)

    assert await play(engine) == ([EVENT], 2)
    assert pauses == [0.5, 1.0]
    assert scripted.left == [kind, kind, None]
    assert engine.status() == {"turns": 3, "retries": {kind: 2}}


@pytest.mark.parametrize(
    "kind",
    [
        "invalid_request_error", "authentication_error", "not_logged_in", "timeout", "billing_error",
        "permission_error", "not_found_error",
        "request_too_large", "context_length_exceeded", "busy", "queue_full", "cli_not_found", "cli_failed",
        "first_token_timeout", "idle_timeout", "stream_error",
    ],
)  # fmt: skip
async def test_a_permanent_error_is_not_retried(kind: Kind, pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError(kind)])

    with pytest.raises(ClaudeError) as caught:
        await play(Retrying(scripted))

    assert caught.value.kind == kind
    assert (len(scripted.turns), pauses) == (1, [])


async def test_nothing_is_tried_again_after_the_first_event(pauses: list[float]) -> None:
    scripted = Scripted([EVENT, ClaudeError("overloaded_error")], [EVENT])

    with pytest.raises(ClaudeError):
        await play(Retrying(scripted))

    assert (len(scripted.turns), pauses) == (1, [])


async def test_the_last_failure_is_told(pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError("api_error")], [ClaudeError("rate_limit_error", retry_after_s=7)])

    with pytest.raises(ClaudeError) as caught:
        await play(Retrying(scripted, retries=1))

    assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limit_error", 7)


async def test_the_usage_of_every_try_is_counted(pauses: list[float]) -> None:
    begun = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3}}}
    engine = Scripted([ClaudeError("api_error")], [begun])
    unread = MessageUsage("claude-x", {"input_tokens": 9})
    async with Retrying(engine).run(HELLO) as running:
        assert (running.messages, running.complete) == ([], False)
        [_ async for _ in running]
        # The first try's message came while nobody read any more.
        engine.played[0]._told.messages.append(unread)

    assert running.messages == [unread, MessageUsage("claude-x", {"input_tokens": 3})]
    assert running.complete


async def test_the_apis_own_wait_is_kept_to(pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError("rate_limit_error", retry_after_s=20)], [EVENT])

    await play(Retrying(scripted, jitter=lambda: 1.0))

    assert pauses == [25.0]


async def test_a_wait_beyond_the_turns_time_is_not_begun(pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError("rate_limit_error", retry_after_s=20)], [EVENT])
    turn = Turn("haiku", HELLO.messages, timeout_s=10)

    with pytest.raises(ClaudeError):
        await play(Retrying(scripted), turn)

    assert (len(scripted.turns), pauses) == (1, [])


async def test_a_further_try_has_only_the_time_that_is_left(pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError("api_error")], [EVENT])

    await play(Retrying(scripted), Turn("haiku", HELLO.messages, timeout_s=10))

    first, second = (turn.timeout_s or 0 for turn in scripted.turns)
    assert 10 >= first > second > 0


async def test_a_used_process_that_fails_is_replaced_at_once(pauses: list[float]) -> None:
    scripted = Scripted([ClaudeError("cli_failed")], [EVENT], process="reused")

    assert await play(Retrying(scripted)) == ([EVENT], 1)
    assert pauses == [0.0]


async def test_leaving_early_leaves_the_try(pauses: list[float]) -> None:
    scripted = Scripted([EVENT, EVENT])

    async with asyncio.timeout(GUARD_S), Retrying(scripted).run(HELLO) as running:
        await anext(aiter(running))
        seen = (running.process, running.backlog)

    assert seen == ("cold", 3)
    assert len(scripted.turns) == 1
    assert (await running.ended).process == "cold"
