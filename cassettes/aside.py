"""Work that takes long is done beside the event loop, in order, so that no exchange waits while another is recorded.

A thread helps only as far as it lets go of the interpreter's lock. RE2 does while it searches. All else is done in
steps of a few milliseconds, between which the interpreter may change threads; what is one long step in C (reading JSON
of many small values, writing it) is done value by value (:mod:`cassettes.large_json`).
"""

import contextlib
import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

LARGE = 64 * 1024
"""What has so many bytes is looked through beside the event loop: it takes more than a millisecond or two."""

MANY = 1024 * 1024
"""What a value weighs that is made of more than some hundred others."""

SWITCH_S = 0.0005
"""How long the thread beside the event loop may keep the interpreter while others wait for it; else Python gives 5 ms.

An exchange waits for it each time that something comes in or goes out.
"""

_MOST_VALUES = 500
_SCALARS = frozenset({int, float, bool, type(None)})


class InOrder:
    """Calls that are made one after another: at once if they are small and none is waiting, else by ``beside``.

    Only one thread may ask. Without ``beside`` all are made at once.
    """

    def __init__(self, beside: Executor | None = None) -> None:
        self._beside = beside
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_idle = threading.Condition()
        self._is_busy = False

    def do(self, size: int, call: Callable[[], None]) -> None:
        """Make a call that has so many bytes to look through. It must not raise."""
        # Only whoever asks makes it busy, so what is seen to be idle here stays so.
        if self._beside is None or (size < LARGE and not self._is_busy):
            call()
            return
        with self._is_idle:
            self._waiting.append(call)
            if not self._is_busy:
                self._is_busy = True
                self._beside.submit(self._run)

    def wait(self) -> None:
        """Block until all calls have been made."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._is_busy)

    @property
    def is_busy(self) -> bool:
        """Whether calls are waiting or being made."""
        return self._is_busy

    def _run(self) -> None:
        with _giving_way():
            while (call := self._next()) is not None:
                call()

    def _next(self) -> Callable[[], None] | None:
        with self._is_idle:
            if self._waiting:
                return self._waiting.popleft()
            self._is_busy = False
            self._is_idle.notify_all()
            return None


_ways = threading.Lock()
_giving = 0
_before = 0.0, False


@contextlib.contextmanager
def _giving_way() -> Iterator[None]:
    """Let other threads come soon. Several threads may be at it at once; the last one puts back what was before.

    What is made of large JSON has no cycles, but the garbage collector would go through all of it in one step.
    """
    global _giving, _before  # the interpreter has one of each
    with _ways:
        if not _giving:
            _before = sys.getswitchinterval(), gc.isenabled()
            sys.setswitchinterval(min(_before[0], SWITCH_S))
            gc.disable()
        _giving += 1
    try:
        yield
    finally:
        with _ways:
            _giving -= 1
            if not _giving:
                sys.setswitchinterval(_before[0])
                if _before[1]:
                    gc.enable()


def weight(value: Any) -> int:
    """Return about how many bytes a JSON-like value has; no less than MANY if it has so many values."""
    total, waiting, count = 0, [value], 0
    for one in waiting:  # which grows meanwhile
        kind = type(one)
        if kind is str or kind is bytes:
            total += len(one)
        elif kind is dict or kind is list or (kind not in _SCALARS and isinstance(one, (list, tuple, Mapping))):
            count += len(one)
            if count > _MOST_VALUES:
                return max(total, MANY)
            waiting += one.values() if kind is dict or isinstance(one, Mapping) else one
        else:
            total += 8
    return total
