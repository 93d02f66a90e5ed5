"""Whatever is on the list when we are gone is gone too, and nothing else."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from engine.watchdog import Watchdog

pytestmark = pytest.mark.anyio

GUARD_S = 30
ROOT = Path(__file__).parents[2]

# A program that has two processes watched, forgets one, says their ids, and waits to be killed.
PROGRAM = """
import asyncio, subprocess, sys
from engine.watchdog import Watchdog

async def main():
    async with Watchdog() as watchdog:
        kept, forgotten, other = (subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL) for _ in range(3))
        for process in (forgotten, kept, other):
            watchdog.watch(process.pid)
        watchdog.forget(forgotten.pid)
        watchdog.forget(other.pid)
        watchdog.watch(other.pid)
        await asyncio.sleep(0.2)
        print(kept.pid, forgotten.pid, other.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def ended(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no way to wait for another's process")
async def test_a_program_that_is_killed_takes_what_it_had_watched_with_it() -> None:
    async with asyncio.timeout(GUARD_S):
        program = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=PIPE, cwd=ROOT)
        assert program.stdout is not None
        kept, forgotten, other = map(int, (await program.stdout.readline()).split())
        program.kill()
        await program.wait()
        try:
            await ended(kept)
            await ended(other)
            os.kill(forgotten, 0)
        finally:
            os.kill(forgotten, signal.SIGKILL)


# What a program does that has something of its own to end.
TIDY = "trap 'echo tidied; exit' TERM; echo ready; while :; do sleep 0.01; done"


@pytest.mark.skipif(os.name != "posix", reason="this system has no such shell")
async def test_a_watched_program_may_end_its_own_children() -> None:
    async with asyncio.timeout(GUARD_S):
        program = await asyncio.create_subprocess_exec("/bin/sh", "-c", TIDY, stdout=PIPE)
        assert program.stdout is not None
        ready = await program.stdout.readline()
        async with Watchdog() as watchdog:
            watchdog.watch(program.pid)
        tidied = await program.stdout.read()

    assert (ready, tidied) == (b"ready\n", b"tidied\n")


async def test_the_watchdog_ends_with_its_block() -> None:
    async with asyncio.timeout(GUARD_S), Watchdog() as watchdog:
        active = watchdog.active

    assert active is (os.name == "posix")
    assert not watchdog.active


async def test_the_watchdog_ignores_calls_after_its_end() -> None:
    async with Watchdog() as watchdog:
        pass

    watchdog.watch(1)
    watchdog.forget(1)

    assert not watchdog.active
