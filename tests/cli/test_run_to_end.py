"""Signals end a command as Ctrl-C does, and its status says which."""

import asyncio
import os
import signal

import pytest
import typer

from addons.doors import CannotListenError
from cli.run_to_end import run_to_end


async def ended_by(number: int) -> int:
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()
    return 0


def test_the_status_is_what_the_coroutine_returns() -> None:
    async def three() -> int:
        return 3

    assert run_to_end(three()) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_with_128_and_the_signals_number(number: int) -> None:
    assert run_to_end(ended_by(number)) == 128 + number


def test_a_door_that_cannot_be_opened_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    async def refused() -> int:
        raise CannotListenError("127.0.0.1:80: permission denied")

    with pytest.raises(typer.Exit) as ended:
        run_to_end(refused())

    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "understudy: 127.0.0.1:80: permission denied\n"


def test_a_signal_that_we_were_started_to_ignore_ends_nothing() -> None:
    """As under `nohup`."""

    async def hang_up() -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return 5

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_to_end(hang_up()) == 5
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_runs_on_a_system_without_sighup(monkeypatch: pytest.MonkeyPatch) -> None:
    async def three() -> int:
        return 3

    monkeypatch.delattr(signal, "SIGHUP")

    assert run_to_end(three()) == 3
