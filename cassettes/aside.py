"""Run long work in a thread, in order, so that recording one exchange does not delay the others.

How the thread lets others run is in :mod:`translate.long_work`. Reading or writing JSON would be one long step in C, so
large JSON is processed value by value (:mod:`translate.large_json`).
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from translate.long_work import LARGE, giving_way


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
        with giving_way():
            while (call := self._next()) is not None:
                call()

    def _next(self) -> Callable[[], None] | None:
        with self._is_idle:
            if self._waiting:
                return self._waiting.popleft()
            self._is_busy = False
            self._is_idle.notify_all()
            return None
