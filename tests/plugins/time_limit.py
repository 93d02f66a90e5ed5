"""What a test that takes too long leaves behind: the stack of every thread and of every asyncio task.

pytest-timeout sets the limit (``timeout`` in pyproject.toml, ``@pytest.mark.timeout``, ``--timeout``). This plugin adds
the stacks to the test's report, where they are seen with workers as well.
"""

import asyncio
import gc
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Set an alarm that reports the stacks and fails the test. pytest-timeout does it where there is no alarm."""
    main = threading.current_thread() is threading.main_thread()
    if settings.method != "signal" or not main or sys.platform == "win32":
        return None

    def fail(number: int, frame: FrameType | None) -> None:
        item.add_report_section("call", "threads", threads(frame))
        item.add_report_section("call", "tasks", tasks())
        pytest.fail(f"the test took more than {settings.timeout:g} s", pytrace=True)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel  # type: ignore[attr-defined]
    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)
    return True


def threads(interrupted: FrameType | None = None) -> str:
    """Return the stack of every thread. For the one that runs this, ``interrupted`` is where it was."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: dict[int, FrameType] = sys._current_frames()
    if interrupted is not None:
        frames[threading.get_ident()] = interrupted
    return "\n".join(
        f"{names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}" for ident, frame in frames.items()
    )


def tasks() -> str:
    """Return where every unfinished task of every event loop waits."""
    loops = [found for found in gc.get_objects() if isinstance(found, asyncio.AbstractEventLoop)]
    waiting = [task for loop in loops if not loop.is_closed() for task in asyncio.all_tasks(loop)]
    return "\n".join(f"{task.get_name()}\n{''.join(_places(task))}" for task in waiting) or "none"


def _places(task: asyncio.Task[Any]) -> Iterator[str]:
    """Give the lines at which a task and what it awaits wait. ``Task.get_stack`` gives only the outermost."""
    awaited: Any = task.get_coro()
    while (frame := _attribute(awaited, "cr_frame", "gi_frame", "ag_frame")) is not None:
        yield "".join(traceback.format_stack(frame, limit=1))
        awaited = _attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    if awaited is not None:
        yield f"  {awaited!r}\n"


def _attribute(value: object, *names: str) -> Any:
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)
