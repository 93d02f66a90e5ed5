"""Which processes there are, and waiting for their end without looking twice."""

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

from tests.end_to_end.cloud import GUARD_S


def read(pid: int, name: str) -> list[str]:
    """Return the strings of ``/proc/PID/cmdline`` or ``environ``; none once the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    return dict(entry.split("=", 1) for entry in read(pid, "environ") if "=" in entry)


def living_in(home: Path) -> list[int]:
    """Return every process that was started with this HOME: everything that a test's Understudy has started."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if f"HOME={home}" in read(pid, "environ")]


def claude_in(home: Path) -> list[int]:
    """Return the Claude Code processes among them."""
    return [pid for pid in living_in(home) if Path(read(pid, "cmdline")[0]).name == "claude"]


def listening(pid: int) -> list[int]:
    """Return the ports of IPv4 on which a process listens."""
    sockets = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def still_there(pids: Iterable[int], within_s: float = GUARD_S) -> list[int]:
    """Wait until the processes have ended; return those that have not when the time is over."""
    deadline = time.monotonic() + within_s
    return [pid for pid in pids if not _ended(pid, deadline)]


def _ended(pid: int, deadline: float) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        return bool(ready)
    finally:
        os.close(fd)


def signal_group(pid: int, number: int) -> None:
    """Signal the process group that a process leads, as a terminal does."""
    os.killpg(pid, number)
