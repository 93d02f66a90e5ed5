"""What Claude Code's processes take of the machine's memory.

The sum of their proportional set sizes (PSS) is what ending them would give back: pages that several of them share are
counted once (`man 5 proc_pid_smaps`). Where the system does not tell, None, and nothing is limited by it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# A process before it is measured: 162 MB alone, 80 MB when many share their pages (fact F91).
ESTIMATE_BYTES = 120 * 1024 * 1024

PROC = Path("/proc")


def pss_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return a process's PSS; None when it has gone, is not ours to read, or the system does not tell."""
    try:
        rollup = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    line = next((line for line in rollup.splitlines() if line.startswith("Pss:")), None)
    return int(line.split()[1]) * 1024 if line else None


def total_pss_bytes(pids: Iterable[int], proc: Path = PROC) -> int | None:
    """Return the sum over those processes that can be read; None if none can."""
    sizes = [size for pid in pids if (size := pss_bytes(pid, proc)) is not None]
    return sum(sizes) if sizes else None


def machine_bytes() -> int | None:
    """Return how much memory this program may use: the machine's, or its control group's if that is less."""
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
