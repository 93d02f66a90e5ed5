"""File locks. The system releases a lock when its process ends."""

import contextlib
import sys
from collections.abc import Iterator
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[Any], *, wait: bool) -> None:
        """Lock a file for this process. Raises OSError if another process has the lock; with ``wait``, after a time."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

    def unlock(file: IO[Any]) -> None:
        """Release the lock."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(file: IO[Any], *, wait: bool) -> None:
        """Lock a file for this process. Without ``wait``, raises BlockingIOError if another process has the lock."""
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: IO[Any]) -> None:
        """Release the lock."""
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
