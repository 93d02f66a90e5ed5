"""The origin starts with the proxy, is waited for, and ends with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from addons.serve_origin import ServeOrigin

pytestmark = pytest.mark.anyio


@dataclass
class Listening:
    addresses: Sequence[tuple[str, int]] = (("127.0.0.1", 1),)
    access: None = None
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    refuses: bool = False

    def refuse_new(self) -> set[asyncio.Task[Any]]:
        self.refuses = True
        return self.running


@dataclass
class Told:
    """What happens, in order."""

    steps: list[str] = field(default_factory=list)
    may_start: asyncio.Event = field(default_factory=asyncio.Event)
    origin: Listening = field(default_factory=Listening)
    failure: Exception | None = None

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[Listening]:
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.steps.append("started")
        yield self.origin
        self.steps.append("ended")

    async def settle(self) -> None:
        self.steps.append("settled")

    def serve(self, **more: Any) -> ServeOrigin:
        return ServeOrigin(self.listen(), token="t", drain_s=30, before_done=self.settle, **more)


async def test_recordings_are_settled_before_the_origin_ends() -> None:
    told = Told()
    told.may_start.set()
    serve = told.serve()

    await serve.running()
    addresses = await serve.addresses()
    await serve.done()

    assert (list(addresses), await serve.access()) == ([("127.0.0.1", 1)], None)
    assert told.steps == ["started", "settled", "ended"]


async def test_in_the_background_the_start_is_not_waited_for_but_who_needs_the_origin_waits() -> None:
    told = Told()
    serve = told.serve(in_the_background=True)

    await serve.running()
    asking = asyncio.ensure_future(serve.addresses())
    await asyncio.sleep(0)
    before = (list(told.steps), asking.done())
    told.may_start.set()
    addresses = await asking
    await serve.done()

    assert before == ([], False)
    assert list(addresses) == [("127.0.0.1", 1)]
    assert told.steps == ["started", "settled", "ended"]


@pytest.mark.parametrize("in_the_background", [False, True])
async def test_an_expected_failure_is_told_in_one_line_and_raised_to_who_needs_the_origin(
    in_the_background: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(failure=OSError("the disk is full"))
    told.may_start.set()
    serve = told.serve(expected=(OSError,), in_the_background=in_the_background)

    await serve.running()

    with pytest.raises(OSError, match="the disk is full"):
        await serve.addresses()
    await serve.drain()
    await serve.done()
    assert caplog.messages == ["Understudy cannot start: the disk is full"]
    assert [record.exc_info for record in caplog.records] == [None]
    assert told.steps == ["settled"]


async def test_an_unexpected_failure_is_raised_to_mitmproxy() -> None:
    told = Told(failure=LookupError("a bug"))
    told.may_start.set()
    serve = told.serve(expected=(OSError,))

    with pytest.raises(LookupError, match="a bug"):
        await serve.running()
    with pytest.raises(LookupError, match="a bug"):
        await serve.access()


async def test_draining_refuses_new_requests_and_waits_for_those_that_run() -> None:
    told, answered = Told(), asyncio.Event()
    told.may_start.set()
    serve = told.serve()
    await serve.running()
    running = asyncio.ensure_future(answered.wait())
    told.origin.running.add(running)

    draining = asyncio.ensure_future(serve.drain())
    await asyncio.sleep(0)
    before = (told.origin.refuses, draining.done())
    answered.set()
    await draining
    await serve.done()

    assert before == (True, False)
    assert running.done()
