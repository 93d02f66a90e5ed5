"""Private files and folders: only their owner can read them, and a file is written whole or not at all.

Every function raises OSError if the file system refuses. Modes have no effect on Windows.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def make_private_folder(path: Path) -> Path:
    """Make a folder with mode 0700, and each missing parent with the same mode. Returns the path.

    ``Path.mkdir(parents=True)`` would give the parents the mode of the umask.
    """
    missing = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def restrict_to_owner(path: Path) -> None:
    """Take all permissions on a file or folder away from everyone but its owner. The owner keeps read and write."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o700 if path.is_dir() else 0o600)


def touch_private_file(path: Path) -> None:
    """Make an empty private file, or make the file that is there private."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    restrict_to_owner(path)


@contextlib.contextmanager
def replacing_private_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file. If the block ends well, it replaces the file at ``path``; if not, that file stays as it is."""
    with _beside(path) as (file, new):
        yield file
        file.close()
        new.replace(path)


def write_private_file(path: Path, content: bytes) -> None:
    """Write a private file, or replace the one that is there."""
    with replacing_private_file(path) as file:
        file.write(content)


def create_private_file(path: Path, content: bytes) -> None:
    """Write a private file that must not exist yet. Raises FileExistsError, and then changes nothing.

    Of several processes that call this at once, one succeeds, and no process ever reads half of the file.
    """
    with _beside(path) as (file, new):
        file.write(content)
        file.close()
        try:
            path.hardlink_to(new)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links. Renaming would overwrite on POSIX, so look first.
            # On Windows a rename onto an existing name fails by itself.
            if path.exists():
                raise FileExistsError(path) from None
            new.rename(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a temporary file in the folder of ``path``. Its name is gone when the block ends."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # made with mode 0600
    new = Path(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, new
    finally:
        new.unlink(missing_ok=True)
