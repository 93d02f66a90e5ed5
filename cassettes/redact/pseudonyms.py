"""Pseudonyms: the same secret has the same name within a cassette, and the name says nothing of the secret.

Names are counted (``redacted:key-1``), so that recording the same traffic again gives the same text in git. Which
secret a name belongs to is remembered in a private file beside the cassette as an HMAC under a random key that is in
that file only. Without the file a name cannot be led back to anything; with it, a guessed secret can be confirmed, but
none can be read. The file is for its owner's eyes (mode 0600, and a ``.gitignore`` beside it); when it is gone, the
counting goes on behind the highest number that the cassette has, so that no name is ever given twice.
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
"""Stands for the end of a text that may yet turn out to be the beginning of a secret; only in journals."""

PSEUDONYM = re.compile(r"redacted:(?:held|([a-z]+(?:-[a-z]+)*)-(\d+))")
_PSEUDONYM_BYTES = re.compile(rb"redacted:([a-z]+(?:-[a-z]+)*)-(\d+)")


class Names:
    """Gives names to secrets: from ``path`` if there is one, else for as long as the object lives.

    ``written`` are the cassette's files, read for the names they use if ``path`` has been lost. Raises OSError.
    ``failed`` is told when a name cannot be written, as on a full disk: what is recorded goes on, and the name is
    written with the next one that can be.
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
        self._read_to = 0  # so much of the file is known
        self._key = randomness.token_bytes(32)
        self._known: dict[str, str] = {}
        self._highest: dict[str, int] = {}
        if path is not None:
            self._open(path, written)

    def name(self, secret: str, kind: str) -> str:
        """Return the secret's name. ``kind`` (``key``, ``token``, …) is used for one that has none yet."""
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
        """Take over what the file says that is not known yet, and return it.

        A line that a crash has torn names nothing, and is passed over.
        """
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
            # Another recorder may share the file, so look again under its lock before a number is given out.
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
    """Return the highest number of each kind of name that the files contain."""
    highest: dict[str, int] = {}
    for path in files:
        with path.open("rb") as file:
            for line in file:
                for kind, number in _PSEUDONYM_BYTES.findall(line):
                    highest[kind.decode()] = max(highest.get(kind.decode(), 0), int(number[:18]))
    return highest
