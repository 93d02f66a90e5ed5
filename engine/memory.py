"""The memory that Claude Code's processes use.

It is the sum of their proportional set sizes (PSS), in which shared pages are counted once (`man 5 proc_pid_smaps`).
That is the memory that would be free if they ended. On a system without PSS the result is None, and there is no limit.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# The estimate for a process that was not measured yet: 162 MB alone, 80 MB if many share pages (fact F91).
ESTIMATE_BYTES = 120 * 1024 * 1024

PROC = Path("/proc")


def pss_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return a process's PSS; None if it has ended, belongs to another user, or the system has no PSS."""
    try:
        rollup = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    line = next((line for line in rollup.splitlines() if line.startswith("Pss:")), None)
    return int(line.split()[1]) * 1024 if line else None


def total_pss_bytes(pids: Iterable[int], proc: Path = PROC) -> int | None:
    """Return the sum for the processes that can be read; None if none can be read."""
    sizes = [size for pid in pids if (size := pss_bytes(pid, proc)) is not None]
    return sum(sizes) if sizes else None


def machine_bytes() -> int | None:
    """Return the memory that this program may use: the machine's, or that of its control group if that is less."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    limits = [machine]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(limits)
