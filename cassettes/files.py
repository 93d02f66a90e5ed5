"""The files of a cassette.

When ``NAME.jsonl`` has reached its size limit, it continues in ``NAME.2.jsonl``, ``NAME.3.jsonl`` and so on. The folder
``NAME.jsonl.d`` beside them has the blobs, the indexes and the journals of exchanges that still run. If a cassette is a
folder, it has one ``.jsonl`` (and its parts) for each run.
"""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

_PRIVATE = "# Who the pseudonyms stand for, and what a running recorder needs: not for others, not for git.\n"
_IGNORED = "names\nlock\n*.part\n*.index\n.gitignore\n"


def side_folder(file: Path) -> Path:
    """Return the side folder (``NAME.jsonl.d``) of a cassette's file. All parts of a cassette share one."""
    first = first_of(file)
    owner = first if first.exists() else file
    return owner.with_name(owner.name + ".d")


def make_side_folder(folder: Path) -> None:
    """Make the side folder of a cassette, if there is none. Only its owner can read it, and git ignores all but blobs.

    Raises OSError, also if the folder is a link: a cassette from another person must not make us write elsewhere.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "it is a link to another folder", str(folder))
    with contextlib.suppress(FileExistsError):
        # O_EXCL does not follow a link either.
        descriptor = os.open(folder / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8") as ignored:
            ignored.write(_PRIVATE + _IGNORED)


def open_regular(path: Path, most_bytes: int | None = None) -> BinaryIO:
    """Open a file of a cassette for reading. Raises OSError, also if it is not a regular file, or is too large.

    A cassette may come from another person. A named pipe would make us wait forever. A device or a sparse file could
    fill the memory.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if most_bytes is not None and about.st_size > most_bytes:
        file.close()
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return file


def index_path(file: Path) -> Path:
    """Return the path of a file's index."""
    return side_folder(file) / f"{file.name.removesuffix('.jsonl')}.index"


def part_path(first: Path, number: int) -> Path:
    """Return the path of a cassette's part. Number 1 is the file itself."""
    return first if number == 1 else first.with_name(f"{first.name.removesuffix('.jsonl')}.{number}.jsonl")


def parts(first: Path) -> list[Path]:
    """Return the existing files of one cassette, in order."""
    stem = first.name.removesuffix(".jsonl")
    numbered = re.compile(re.escape(stem) + r"\.([2-9]|[1-9]\d{1,8})\.jsonl")
    siblings = first.parent.iterdir() if first.parent.is_dir() else ()
    found = {int(match[1]): path for path in siblings if (match := numbered.fullmatch(path.name)) and path.is_file()}
    if first.is_file():
        found[1] = first
    return [found[number] for number in sorted(found)]


def all_files(path: Path) -> list[Path]:
    """Return the files of a cassette (a file or a folder), in the order in which they are read."""
    if not path.is_dir():
        return parts(path)
    names = sorted(file for file in path.glob("*.jsonl") if file.is_file())
    firsts = [file for file in names if first_of(file) not in names or first_of(file) == file]
    return [part for first in firsts for part in (parts(first) if first_of(first) == first else [first])]


def journals(file: Path) -> list[Path]:
    """Return the journals of a cassette's file."""
    folder = side_folder(file)
    found = folder.glob("*.part") if folder.is_dir() else ()
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def first_of(file: Path) -> Path:
    """Return the first file of the cassette that a part belongs to, or the file itself."""
    match = re.fullmatch(r"(.+)\.(?:[2-9]|[1-9]\d{1,8})\.jsonl", file.name)
    return file.with_name(f"{match[1]}.jsonl") if match else file
