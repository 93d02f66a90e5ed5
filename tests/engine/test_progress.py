"""A request that hangs says so in the log, and what it waits for; a failure says which request, try and host."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from engine import ClaudeError
from engine.pool import Pool
from engine.progress import REQUEST_ID, Progress, Wait, waiting_for
from engine.reach import Reach
from engine.retry import Retrying
from engine.sdk import Spawn
from rehearsal import AT_HEAD, Fault, FaultKind, Reply
from rehearsal.server import Rehearsal
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

GUARD_S = 60
HELLO = Turn("haiku", (Message("user", ({"type": "text", "text": "Hello"},)),))
SOON_S = 0.01


class Lines(logging.Handler):
    """What is logged, and waiting for it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._changed.set()

    async def wait_for(self, words: str) -> str:
        while True:
            for line in self.lines:
                if words in line:
                    return line
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def listening() -> AsyncIterator[Lines]:
    lines, log = Lines(), logging.getLogger("engine")
    before = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        async with asyncio.timeout(GUARD_S):
            yield lines
    finally:
        log.removeHandler(lines)
        log.setLevel(before)


async def test_a_request_that_hangs_says_which_one_it_is_and_what_it_waits_for(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    rehearsal.script(
        Reply(text="one two three", gates={AT_HEAD: (head := asyncio.Event()), 2: (middle := asyncio.Event())})
    )

    async def ask(engine: Retrying, name: str) -> None:
        REQUEST_ID.set(name)
        async with engine.run(HELLO) as running:
            [_ async for _ in running]

    async with listening() as lines, Pool(spawn, limit=1, spare=0) as pool:
        engine = Retrying(pool, first_s=SOON_S)
        first = asyncio.create_task(ask(engine, "req_1"))
        ready = await lines.wait_for(f"request req_1 is still waiting for {Wait.READY}")
        token = await lines.wait_for(f"request req_1 is still waiting for {Wait.TOKEN}")
        second = asyncio.create_task(ask(engine, "req_2"))
        place = await lines.wait_for(f"request req_2 is still waiting for {Wait.PLACE}")
        head.set()
        piece = await lines.wait_for(f"request req_1 is still waiting for {Wait.PIECE}")
        middle.set()
        await asyncio.gather(first, second)

    assert "(1 of 1 places are taken, 1 wait)" in place
    assert all(line.endswith("try 1 of 3") for line in (ready, token, place, piece))


async def test_the_gaps_between_its_lines_grow(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("engine.progress.time", SimpleNamespace(monotonic=lambda: now))
    told: list[float] = []
    with caplog.at_level(logging.INFO, "engine.progress"), Progress() as progress:
        for _ in range(70):
            now += 5.0
            caplog.clear()
            progress._look()
            if caplog.messages:
                told.append(now - 100.0)

    assert told == [5, 10, 20, 40, 80, 140, 200, 260, 320]


async def test_a_new_wait_is_told_of_as_soon_as_the_first_was(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("engine.progress.time", SimpleNamespace(monotonic=lambda: now))
    with caplog.at_level(logging.INFO, "engine.progress"), Progress() as progress:
        for wait in (Wait.TOKEN, Wait.RETRY):
            progress.on(wait)
            for _ in range(10):
                now += 5.0
                progress._look()

    first = [next(line for line in caplog.messages if wait in line) for wait in (Wait.TOKEN, Wait.RETRY)]
    assert ["after 5 s" in line for line in first] == [True, True]


async def test_a_request_that_moves_says_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("engine.progress.time", SimpleNamespace(monotonic=lambda: now))
    with caplog.at_level(logging.INFO, "engine.progress"), Progress() as progress:
        for _ in range(10):
            now += 4.9
            progress._look()
            progress.heard({"type": "content_block_delta"})

    assert caplog.messages == []


def test_outside_of_any_turn_a_wait_is_nobodys() -> None:
    waiting_for(Wait.PLACE)


async def test_each_failed_try_is_told_with_request_host_cause_and_number(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(*[Reply(fault=Fault(FaultKind.DROP))] * 2, Reply.error(400, message="no such thing"))
    REQUEST_ID.set("req_7")
    host, _, port = rehearsal.base_url.removeprefix("http://").partition(":")

    async with listening() as lines, Pool(spawn, spare=0) as pool:
        reach = Reach(f"{host}:{port}", host, int(port))
        with pytest.raises(ClaudeError):
            async with Retrying(pool, reach=reach, jitter=lambda: 0).run(HELLO) as running:
                [_ async for _ in running]

    first, second, last = [line for line in lines.lines if line.startswith("Claude's side failed")]
    for number, line in enumerate((first, second), 1):
        assert line.startswith(f"Claude's side failed (request req_7, try {number} of 3, {host}:{port}, after ")
        assert "): connection_error: the connection ended before an answer came; tried again in " in line
    assert "try 3 of 3" in last
    assert "no such thing" in last and "(request req_01Rehearsal0000000000003 at Anthropic)" in last
    assert last.endswith("; not tried again")


@pytest.mark.parametrize("kind", ["busy", "not_logged_in", "cli_not_found"])
def test_a_failure_without_the_api_does_not_name_it(kind: str) -> None:
    line = Progress(host="api.anthropic.com:443").describe_failure(ClaudeError(kind))  # type: ignore[arg-type]

    assert "api.anthropic.com" not in line


def test_a_failure_that_is_never_tried_again_has_no_number() -> None:
    assert "try" not in Progress(tries=3).describe_failure(ClaudeError("not_logged_in"), only_try=True)
