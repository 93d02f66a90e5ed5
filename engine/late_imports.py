"""Import a large module when it is first needed, in a thread, so that other requests go on meanwhile."""

import asyncio
import importlib
import threading

_one_at_a_time = threading.Lock()


async def import_late(name: str) -> None:
    """Import a module in a thread. The caller then uses an ``import`` statement, which no longer takes time.

    Only one module is imported at a time. If two threads import modules that import each other, such as those of
    ``mcp``, Python raises an error in one thread and gives the other an incomplete module
    (https://docs.python.org/3/whatsnew/3.3.html#finer-grained-import-lock).
    """
    if name not in _imported:
        await asyncio.to_thread(_import, name)


def _import(name: str) -> None:
    with _one_at_a_time:
        importlib.import_module(name)
        _imported.add(name)


_imported: set[str] = set()
"""The modules whose import has ended. ``sys.modules`` also has incomplete ones."""
