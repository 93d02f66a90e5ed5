"""Tests marked ``calm`` run alone: while one runs, no other worker runs a test.

Such a test shows what Understudy promises on a machine that is not saturated. Each worker holds a shared lock while it
runs a test, and an exclusive one while that test is marked. The locks are files that all workers of a run open.
"""

import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

if sys.platform != "win32":
    import fcntl


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "calm: runs while no other worker runs a test")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with _lock(alone=item.get_closest_marker("calm") is not None):
        return (yield)


@contextmanager
def _lock(alone: bool) -> Iterator[None]:
    """Hold this run's lock. Without workers, or on Windows, there is nothing to lock."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None or sys.platform == "win32":
        yield
        return
    path = Path(tempfile.gettempdir()) / f"understudy-tests-{run}"
    with ExitStack() as stack:
        # A worker waits at the gate first. So a test that must run alone waits for the tests that run now, and no
        # other test starts before it.
        gate = stack.enter_context(path.with_suffix(".gate").open("a"))
        lock = stack.enter_context(path.with_suffix(".lock").open("a"))
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the files, in the process that started the workers."""
    session = config.pluginmanager.get_plugin("dsession")
    uid = getattr(getattr(session, "nodemanager", None), "testrunuid", None)
    if uid:
        for suffix in (".gate", ".lock"):
            (Path(tempfile.gettempdir()) / f"understudy-tests-{uid}{suffix}").unlink(missing_ok=True)
