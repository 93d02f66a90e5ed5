"""Folders that are only their owner's."""

from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Make a folder for its owner alone (mode 0700), and so each of its parents that is not there. Raises OSError.

    What ``Path.mkdir`` makes of parents has the mode of the umask.
    """
    missing = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
