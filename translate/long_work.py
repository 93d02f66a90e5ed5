"""What is long work, and how a thread that does it lets other threads run.

A thread helps only while it releases the interpreter's lock. RE2 and hashes of large data release it. All other work is
split into steps of a few milliseconds, and the interpreter can switch threads between them.
"""

import contextlib
import gc
import sys
import threading
from collections.abc import Iterator, Mapping
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

_ways = threading.Lock()
_giving = 0
_before = 0.0, False


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
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
