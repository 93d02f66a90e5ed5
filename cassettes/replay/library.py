"""A cassette to replay, of any size. The entries stay on the disk until they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cassettes.files import all_files
from cassettes.format import Entry
from cassettes.index import load
from cassettes.read import read_block
from cassettes.summary import Summary


class GoneError(Exception):
    """An entry was in the cassette, but cannot be read any more."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry on the disk."""

    file: Path
    id: str
    offset: int
    length: int

    def head(self) -> Entry:
        """Read only the entry's first line, which has its request. If that fails, read all of it. Raises GoneError."""
        return self._read(1) or self.load()

    def load(self) -> Entry:
        """Read the entry. Raises GoneError."""
        entry = self._read(self.length)
        if entry is None:
            raise GoneError(f"the entry {self.id} is gone from {self.file}, which was changed meanwhile")
        return entry

    def _read(self, length: int) -> Entry | None:
        found = read_block(self.file, self.offset, length)
        return next((entry for entry in found if isinstance(entry, Entry) and entry.id == self.id), None)


def shelve(path: Path) -> tuple[list[Stored], list[Summary]]:
    """Return the entries of a cassette that have an answer, and a summary of each. Raises OSError.

    An entry has no answer if the app disconnected before it, or if recording stopped.
    """
    # The file has the entries in the order of their ends. Equal requests must be answered in the order of their starts.
    pairs = sorted(_answered(path), key=lambda pair: pair[1].started)
    return [place for place, _ in pairs], [summary for _, summary in pairs]


def _answered(path: Path) -> Iterator[tuple[Stored, Summary]]:
    for file in all_files(path):
        for summary in load(file):
            if summary.status is not None:
                yield Stored(file, summary.id, summary.offset, summary.length), summary
