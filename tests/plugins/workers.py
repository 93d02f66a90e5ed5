"""How many workers a run of tests gets with ``-n auto``, which is the default."""

import os
from pathlib import Path

import pytest

MOST = 8
"""Each worker imports and collects all tests; more than this wait for one another."""


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return one worker for each processor, and none for a few files: workers start in seconds."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    files = [Path(argument.partition("::")[0]).suffix == ".py" for argument in config.args]
    if all(files) and len(files) <= 3:
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, MOST)
