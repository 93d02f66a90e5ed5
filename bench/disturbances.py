"""The disturbances of a chaos run. Each one takes a limited time and undoes its changes."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from bench.stand import DISK, OPEN_FILES, Stand, limit, resize

LASTS_S = 4.0
CONNECTIONS = 3 * OPEN_FILES
MEMORY_LEFT = 16 * 1024 * 1024
BODIES = 12
BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "' + b"a" * (4 * 1024 * 1024) + b'"}]}'

type Disturbance = Callable[[Stand], Awaitable[int]]
"""Disturbs, undoes its changes, and returns the number of orphaned processes."""


async def kill_the_proxy(it: Stand) -> int:
    """Kill the proxy during its answers, and start it again."""
    orphans = await it.end_proxy(signal.SIGKILL)
    it.start_proxy()
    return orphans


async def kill_claude(it: Stand) -> int:
    """Kill every Claude Code process."""
    for pid in it.claude():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return 0


async def kill_the_api(it: Stand) -> int:
    """Kill the simulated API, and start it again after a time."""
    if it.api is not None:
        it.api.kill()
        await asyncio.to_thread(it.api.wait)
    await asyncio.sleep(LASTS_S)
    it.start_api()
    return 0


async def stop_the_database(it: Stand) -> int:
    """Stop PostgreSQL abruptly, and start it again after a time."""
    if it.database is not None:
        await asyncio.to_thread(it.database.stop)
        try:
            await asyncio.sleep(LASTS_S)
        finally:
            await asyncio.to_thread(it.database.start)
    return 0


async def fill_the_disk(it: Stand) -> int:
    """Leave no room for the recording: fill its own file system, or else limit the size of files.

    That limit is for all files that the proxy writes.
    """
    if it.has_disk:
        usage = os.statvfs(it.cassettes)
        used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        resize(it.cassettes, str(used + usage.f_frsize))
        try:
            await asyncio.sleep(LASTS_S)
        finally:
            resize(it.cassettes, DISK)
    elif it.proxy is not None:
        with limited(it.proxy.pid, resource.RLIMIT_FSIZE, 4096):
            await asyncio.sleep(LASTS_S)
    return 0


async def use_up_descriptors(it: Stand) -> int:
    """Open more connections than the proxy may have files, and keep them idle."""
    async with asyncio.timeout(6 * LASTS_S):
        writers: list[asyncio.StreamWriter] = []
        try:
            for number in range(CONNECTIONS):
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        writers.append((await asyncio.open_connection(*it.doors[number % 2]))[1])
            await asyncio.sleep(LASTS_S)
        finally:
            for writer in writers:
                writer.close()
    return 0


async def limit_the_memory(it: Stand) -> int:
    """Leave the proxy little room in its address space, while large requests come."""
    if it.proxy is None:
        return 0
    with limited(it.proxy.pid, resource.RLIMIT_AS, address_space(it.proxy.pid) + MEMORY_LEFT):
        sending = [asyncio.create_task(asyncio.to_thread(send_large, it.doors[1])) for _ in range(BODIES)]
        await asyncio.sleep(LASTS_S)
    await asyncio.gather(*sending)
    return 0


DISTURBANCES: dict[str, Disturbance] = {
    "kill -9 of the proxy": kill_the_proxy,
    "kill -9 of every claude": kill_claude,
    "kill -9 of the API": kill_the_api,
    "PostgreSQL stopped": stop_the_database,
    "disk full": fill_the_disk,
    "descriptors used up": use_up_descriptors,
    "memory limited": limit_the_memory,
}


def address_space(pid: int) -> int:
    """Return the size of a process's address space in bytes, 0 once it has ended."""
    size = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(size[1]) * 1024 if size else 0


def send_large(door: tuple[str, int]) -> None:
    """Send one large request, and wait a short time for an answer."""
    with contextlib.suppress(OSError), socket.create_connection(door, timeout=LASTS_S) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        connection.recv(1)


@contextlib.contextmanager
def limited(pid: int, kind: int, soft: int) -> Iterator[None]:
    """Set a limit for a process while the block runs. Ignore a process that has ended."""
    with contextlib.suppress(ProcessLookupError):
        limit(pid, kind, soft)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            limit(pid, kind, resource.RLIM_INFINITY)
