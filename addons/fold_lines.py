"""Log lines that repeat are folded: a client that causes one line can cause ten thousand, and fill a disk."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SHOWN = 20
"""So many lines of a kind are shown in a window of time; the others are counted."""

WINDOW_S = 10.0


@dataclass(slots=True)
class _Kind:
    since: float
    count: int = 0
    last: str = ""


class FoldLines(logging.Filter):
    """Let the first lines of a kind pass, and tell later how many more there were.

    It folds warnings and errors by the line of code that logs them, and other records by their attribute ``folds``, if
    they have one. It belongs to one handler, and must be that handler's first filter.
    """

    def __init__(self, handler: logging.Handler, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be shown."""
        folds = getattr(record, "folds", None)
        if record.levelno < logging.WARNING and folds is None:
            return True
        key = (record.name, record.levelno, folds or (record.pathname, record.lineno))
        self.tell()
        with self._lock:
            kind = self._kinds.setdefault(key, _Kind(self._clock()))
            kind.count += 1
            if kind.count <= SHOWN:
                return True
            kind.last = record.getMessage()
            if self._timer is None:
                # Nothing more may come by itself.
                self._timer = threading.Timer(WINDOW_S, self._wake)
                self._timer.daemon = True
                self._timer.start()
        return False

    def tell(self, *, all_of_them: bool = False) -> None:
        """Say how many lines were folded in the windows that are over."""
        now = self._clock()
        with self._lock:
            over = {key: kind for key, kind in self._kinds.items() if all_of_them or now - kind.since >= WINDOW_S}
            for key in over:
                del self._kinds[key]
        for (name, level, _), kind in over.items():
            if kind.count > SHOWN:
                told = f"… {kind.count - SHOWN:,} more like this in the last {now - kind.since:.0f} s: {kind.last}"
                record = logging.makeLogRecord({"name": name, "levelno": level, "msg": told})
                record.levelname = logging.getLevelName(record.levelno)
                self._pass(record)

    def _wake(self) -> None:
        with self._lock:
            self._timer = None
        self.tell(all_of_them=True)

    def _pass(self, record: logging.LogRecord) -> None:
        """Show a record of our own: by the handler's other filters, but not by this one."""
        for other in self._handler.filters:
            if other is not self and isinstance(other, logging.Filter) and not other.filter(record):
                return
        self._handler.acquire()
        try:
            self._handler.emit(record)
        finally:
            self._handler.release()
