"""Signals are heard in the event loop, where it takes handlers and where it does not."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from launch.signals import known, listening

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["as on Unix", "as on Windows"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops that take signal handlers, and such that do not."""

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    if request.param == "as on Windows":
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
        monkeypatch.setattr(asyncio.SelectorEventLoop, "remove_signal_handler", refuse)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers back that were there before the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("loops")
async def test_a_signal_is_heard_while_the_block_runs_and_the_earlier_handler_is_put_back() -> None:
    def before(*_: object) -> None:
        """Do nothing."""

    signal.signal(signal.SIGUSR1, before)
    heard: asyncio.Queue[int] = asyncio.Queue()

    with listening(asyncio.get_running_loop(), [signal.SIGUSR1], heard.put_nowait):
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(30):
            number = await heard.get()

    assert number == signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.usefixtures("loops")
async def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    with listening(asyncio.get_running_loop(), [signal.SIGUSR1], lambda number: None):
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def test_a_signal_that_this_system_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")

    assert known(["SIGHUP", "SIGTERM", "SIGBREAK"]) == [signal.SIGTERM]
