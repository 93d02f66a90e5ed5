"""Pseudonyms: the same secret has the same name within a cassette, and the name reveals nothing about the secret.

Names are numbered (``redacted:key-1``), so recording the same traffic again gives the same text in git. A private file
beside the cassette maps secrets to names. It has each secret only as an HMAC, under a random key that is in this file
only. Without the file nobody can find out which secret a name stands for. With it, a guessed secret can be confirmed,
but no secret can be read. The file is private (mode 0600, with a ``.gitignore`` beside it). If it is lost, numbering
continues after the highest number in the cassette, so no name is given twice.
"""

import contextlib
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from cassettes.locking import locked
from storage.private_files import create_private_file

PREFIX = "redacted:"
HELD = "redacted:held"
"""Replaces the end of a text that may be the beginning of a secret. Only journals have it."""

PSEUDONYM = re.compile(r"redacted:(?:held|([a-z]+(?:-[a-z]+)*)-(\d+))")
_PSEUDONYM_BYTES = re.compile(rb"redacted:([a-z]+(?:-[a-z]+)*)-(\d+)")


class Names:
    """Gives names to secrets. They are stored in ``path``; without it they are valid only for this object.

    ``written`` are the cassette's files. They are searched for used names if ``path`` is lost. Raises OSError.
    ``failed`` is called when a name cannot be written, for example because the disk is full. Recording continues, and
    the name is written together with the next one.
    """

    def __init__(
        self,
        path: Path | None = None,
        written: Iterable[Path] = (),
        failed: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._path = path
        self._failed = failed
        self._unwritten: list[str] = []
        self._read_to = 0  # the file is read up to this offset
        self._key = randomness.token_bytes(32)
        self._known: dict[str, str] = {}
        self._highest: dict[str, int] = {}
        if path is not None:
            self._open(path, written)

    def name(self, secret: str, kind: str) -> str:
        """Return the name of a secret. A new name begins with ``kind`` (``key``, ``token``, …)."""
        digest = hmac.new(self._key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]
        if digest not in self._known:
            self._add(digest, kind)
        return PREFIX + self._known[digest]

    def _open(self, path: Path, written: Iterable[Path]) -> None:
        if not path.exists():
            lines = [self._key.hex(), *(f"- {kind}-{number}" for kind, number in highest_numbers(written).items())]
            with contextlib.suppress(FileExistsError):
                create_private_file(path, "".join(f"{line}\n" for line in lines).encode())
        with path.open("rb") as file, locked(file):
            key = file.readline()
            with contextlib.suppress(ValueError):
                self._key = bytes.fromhex(key.decode("ascii", "replace"))
            self._read_to = len(key)
            self._read(file)

    def _read(self, file: IO[bytes]) -> bytes:
        """Read the new part of the file, and return it. Skip a line that a crash has truncated."""
        file.seek(self._read_to)
        content = file.read()
        self._read_to += len(content)
        for line in content.decode("ascii", "replace").split("\n"):
            digest, _, name = line.partition(" ")
            kind, _, number = name.rpartition("-")
            if kind and number.isdigit():
                self._highest[kind] = max(self._highest.get(kind, 0), int(number))
                if digest != "-":
                    self._known.setdefault(digest, name)
        return content

    def _add(self, digest: str, kind: str) -> None:
        if self._path is None:
            self._number(digest, kind)
            return
        self._unwritten.append(digest)
        try:
            # Another recorder may use the same file. So read it again under its lock before taking a number.
            with self._path.open("a+b") as file, locked(file):
                content = self._read(file)
                self._number(digest, kind)
                new = [one for one in self._unwritten if one.encode() not in content]
                if new:
                    lines = "".join(f"{one} {self._known[one]}\n" for one in new).encode()
                    if self._read_to and not self._ends_line(file):
                        lines = b"\n" + lines
                    file.write(lines)
                    file.flush()
                    self._read_to += len(lines)
            self._unwritten.clear()
        except OSError as error:
            self._number(digest, kind)
            self._failed(error)

    def _ends_line(self, file: IO[bytes]) -> bool:
        file.seek(self._read_to - 1)
        return file.read(1) == b"\n"

    def _number(self, digest: str, kind: str) -> None:
        if digest not in self._known:
            self._highest[kind] = self._highest.get(kind, 0) + 1
            self._known[digest] = f"{kind}-{self._highest[kind]}"


def highest_numbers(files: Iterable[Path]) -> dict[str, int]:
    """Return the highest number in the files for each kind of name."""
    highest: dict[str, int] = {}
    for path in files:
        with path.open("rb") as file:
            for line in file:
                for kind, number in _PSEUDONYM_BYTES.findall(line):
                    highest[kind.decode()] = max(highest.get(kind.decode(), 0), int(number[:18]))
    return highest
