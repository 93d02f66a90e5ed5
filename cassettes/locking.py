"""Locks on files, which the system lets go of when their owner dies."""

import contextlib
import sys
from collections.abc import Iterator
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[Any], *, wait: bool) -> None:
        """Lock a file for this process alone. Raises OSError if another has it, and with ``wait`` after some time."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

    def unlock(file: IO[Any]) -> None:
        """Let go of the lock."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(file: IO[Any], *, wait: bool) -> None:
        """Lock a file for this process alone. Without ``wait`` raises BlockingIOError if another has it."""
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: IO[Any]) -> None:
        """Let go of the lock."""
        fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(file: IO[Any]) -> Iterator[None]:
    """Hold the lock for a block of code."""
    lock(file, wait=True)
    try:
        yield
    finally:
        file.flush()
        unlock(file)
