"""Run long work in a thread, in order, so that recording one exchange does not delay the others.

A thread helps only while it releases the interpreter's lock. RE2 releases it during a search. All other work is split
into steps of a few milliseconds, and the interpreter can switch threads between them. Reading or writing JSON would be
one long step in C, so large JSON is processed value by value (:mod:`cassettes.large_json`).
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
"""From this many bytes on, data is processed in a thread, because it takes more than a millisecond or two."""

MANY = 1024 * 1024
"""The minimum weight of a value that consists of more than some hundred values."""

SWITCH_S = 0.0005
"""How long the thread may hold the interpreter's lock while other threads wait. Python's default is 5 ms.

An exchange may wait this long each time that it receives or sends data.
"""

_MOST_VALUES = 500
_SCALARS = frozenset({int, float, bool, type(None)})


class InOrder:
    """Runs calls in order. A small call runs at once if no call is waiting. All others run in ``beside``.

    Only one thread may use an object. Without ``beside``, all calls run at once.
    """

    def __init__(self, beside: Executor | None = None) -> None:
        self._beside = beside
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_idle = threading.Condition()
        self._is_busy = False

    def do(self, size: int, call: Callable[[], None]) -> None:
        """Run a call that processes ``size`` bytes. The call must not raise."""
        # Only the calling thread sets it to busy. So if it is idle here, it stays idle.
        if self._beside is None or (size < LARGE and not self._is_busy):
            call()
            return
        with self._is_idle:
            self._waiting.append(call)
            if not self._is_busy:
                self._is_busy = True
                self._beside.submit(self._run)

    def wait(self) -> None:
        """Block until all calls have run."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._is_busy)

    @property
    def is_busy(self) -> bool:
        """Whether calls are waiting or running."""
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
    """Make the interpreter switch threads often, and disable the garbage collector.

    Several threads may be in this context at once. The last one restores the earlier settings. The garbage collector
    would scan all values of large JSON in one step, although they have no cycles.
    """
    global _giving, _before  # both settings are global to the interpreter
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
    """Return the approximate size of a JSON-like value in bytes. Return at least MANY if it has very many values."""
    total, waiting, count = 0, [value], 0
    for one in waiting:  # the list grows during the loop
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
