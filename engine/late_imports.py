"""Import a large module when it is first needed, in a thread, so that other requests go on meanwhile."""

import asyncio
import importlib
import threading

_one_at_a_time = threading.Lock()


async def import_late(name: str) -> None:
    """Import a module in a thread. Afterwards, a ``from`` statement in a function gives what it has.

    One module at a time: where two threads import modules that import each other (such as those of ``mcp``), Python
    raises an error in one of them and gives the other a module that is only half there
    (https://docs.python.org/3/whatsnew/3.3.html#finer-grained-import-lock).
    """
    if name not in _imported:
        await asyncio.to_thread(_import, name)


def _import(name: str) -> None:
    with _one_at_a_time:
        importlib.import_module(name)
        _imported.add(name)


_imported: set[str] = set()
"""What was imported to its end. ``sys.modules`` also has modules that are only half there."""
