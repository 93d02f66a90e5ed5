"""Reading cassettes: yield entries, and a problem for each part that cannot be read.

No content of a file makes this module raise. Lines are grouped by the ID of their entry, so a file with reordered lines
still loads. Memory is bounded: by the largest entry if the file is valid, else by ``MAX_OPEN_BYTES``.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from msgspec import UNSET

from cassettes.blobs import BlobError, Blobs
from cassettes.files import all_files, journals, open_regular, side_folder
from cassettes.format import (
    HOW,
    Chunk,
    Entry,
    Event,
    Line,
    LineError,
    Problem,
    Request,
    RequestLine,
    check_header,
    decode_base64,
    decode_line,
)

MAX_LINE_BYTES = 256 * 1024 * 1024
MAX_OPEN = 64
MAX_OPEN_BYTES = 512 * 1024 * 1024

_NOT_WHOLE = "it is not whole: writing it was cut short"


@dataclass(frozen=True, slots=True)
class RawLine:
    """A raw line of a file. ``number`` counts from 1; ``offset`` is in bytes. A line that is too long is truncated."""

    number: int
    offset: int
    raw: bytes
    is_too_long: bool
    is_whole: bool


@dataclass(slots=True)
class _Open:
    """An entry that is being assembled from its lines."""

    first: int
    lines: dict[int, Line] = field(default_factory=dict)
    size: int = 0
    end: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.end is not None and len(self.lines) == self.end + 1 and max(self.lines) == self.end


def read(path: Path) -> Iterator[Entry | Problem]:
    """Read a cassette: a file with all its parts, or a folder. Entries are yielded in the order in which they ended.

    If something cannot be read, yield a Problem at that point and continue. An incomplete entry is yielded with the
    lines that it has, as ``interrupted``. So are exchanges that still run, or ran when their recorder crashed; these
    come last. Never raises.
    """
    try:
        files = all_files(path)
    except OSError as error:
        yield Problem(path, 0, f"it cannot be read: {error.strerror}")
        return
    if not files:
        yield Problem(path, 0, "there is no cassette here")
    for place, file in enumerate(files):
        left = {journal.stem: journal for journal in _journals_of(file)}
        try:
            yield from _read_file(file, left)
        except OSError as error:
            yield Problem(file, 0, f"it cannot be read: {error.strerror}")
        if place + 1 == len(files) or side_folder(files[place + 1]) != side_folder(file):
            for journal in left.values():
                yield from read_journal(journal)


def _journals_of(file: Path) -> list[Path]:
    try:
        return journals(file)
    except OSError:
        return []


def _read_file(file: Path, left: dict[str, Path]) -> Iterator[Entry | Problem]:
    """Read one file. ``left``: its journals by entry ID. Those of complete entries in the file are removed from it."""
    assembler = Assembler(file, Blobs(side_folder(file) / "blobs"))
    raw = None
    for raw in raw_lines(file):
        if raw.number == 1:
            reason, is_header = _header_problem(raw)
            if reason:
                yield Problem(file, 1, reason)
            if is_header and reason:
                return  # another version: the meaning of its lines is not known
            if is_header:
                continue
        if not raw.is_whole and left:
            break  # a journal has the entry that was being appended here
        for found in assembler.feed(raw):
            if isinstance(found, Entry):
                left.pop(found.id, None)
            yield found
    if raw is None:
        yield Problem(file, 1, "it is empty: not even the line with its version is there")
    yield from assembler.finish(besides=left.keys())


def _header_problem(raw: RawLine) -> tuple[str | None, bool]:
    """Return the problem of the first line (None if there is none), and whether the line is a header at all."""
    try:
        return check_header(raw.raw), True
    except LineError as error:
        return str(error), False


def read_journal(journal: Path) -> Iterator[Entry | Problem]:
    """Read the journal of a running exchange. Yield nothing if the journal is gone: the exchange has ended."""
    folder = journal.parent
    assembler = Assembler(journal, Blobs(folder / "blobs"), is_journal=True)
    try:
        for raw in raw_lines(journal):
            if raw.is_whole:  # else it was being written when the recorder crashed
                yield from assembler.feed(raw)
    except OSError:
        return
    yield from assembler.finish()


def read_block(file: Path, offset: int, length: int) -> Iterator[Entry | Problem]:
    """Read the entries in a byte range of a file, as given by the index. Line numbers count from the range's start."""
    if file.suffix == ".part":
        yield from read_journal(file)
        return
    assembler = Assembler(file, Blobs(side_folder(file) / "blobs"))
    try:
        for raw in raw_lines(file, offset, length):
            yield from assembler.feed(raw)
    except OSError as error:
        yield Problem(file, 0, f"it cannot be read: {error.strerror}")
    yield from assembler.finish()


def raw_lines(file: Path, offset: int = 0, length: int | None = None) -> Iterator[RawLine]:
    """Yield the lines of a file, with bounded memory. Skip empty lines. Raises OSError."""
    with open_regular(file) as opened:
        opened.seek(offset)
        number, end = 0, None if length is None else offset + length
        while end is None or offset < end:
            raw = opened.readline(MAX_LINE_BYTES)
            if not raw:
                return
            number += 1
            size, is_whole, is_too_long = len(raw), raw.endswith(b"\n"), False
            while not is_whole and len(raw) == MAX_LINE_BYTES:
                more = opened.readline(1024 * 1024)
                if not more:
                    break
                size, is_whole, is_too_long = size + len(more), more.endswith(b"\n"), True
            if raw.strip():
                yield RawLine(number, offset, raw[:200] if is_too_long else raw, is_too_long, is_whole)
            offset += size


class Assembler:
    """Assembles lines into entries."""

    def __init__(self, file: Path, blobs: Blobs, *, is_journal: bool = False) -> None:
        self._file = file
        self._blobs = blobs
        self._is_journal = is_journal
        self._open: dict[str, _Open] = {}
        self._size = 0

    def feed(self, raw: RawLine) -> Iterator[Entry | Problem]:
        """Add a line. Yield the entries that it completes, and its problems."""
        if raw.is_too_long:
            yield Problem(self._file, raw.number, f"it is longer than {MAX_LINE_BYTES} bytes, and left out")
            return
        if self._is_journal and raw.raw.startswith(b'{"append": '):
            return
        try:
            line = decode_line(raw.raw)
        except LineError as error:
            yield Problem(self._file, raw.number, str(error) if raw.is_whole else f"{_NOT_WHOLE}; {error}")
            return
        entry = self._open.setdefault(line.id, _Open(raw.number))
        if line.n in entry.lines and not self._is_journal:
            yield Problem(
                self._file, raw.number, f"line {line.n} of the entry is there before; this one is left out", line.id
            )
            return
        entry.lines[line.n] = line
        entry.size += len(raw.raw)
        self._size += len(raw.raw)
        if line.end is not UNSET:
            if entry.end is not None and entry.end != line.n:
                yield Problem(self._file, raw.number, "the entry ends a second time; this end is left out", line.id)
                del entry.lines[line.n]
                return
            entry.end = line.n
        if entry.is_complete and not self._is_journal:
            yield from self._close(line.id)
        while len(self._open) > MAX_OPEN or (self._size > MAX_OPEN_BYTES and self._open):
            yield from self._close(next(iter(self._open)))

    def finish(self, besides: Any = ()) -> Iterator[Entry | Problem]:
        """Yield the incomplete entries. Drop those whose IDs are in ``besides``, because they are read elsewhere."""
        for id in list(self._open):
            if id in besides:
                del self._open[id]
            else:
                yield from self._close(id)

    def _close(self, id: str) -> Iterator[Entry | Problem]:
        found = self._open.pop(id)
        self._size -= found.size
        if 0 not in found.lines:
            others = len(found.lines)
            reason = (
                f"the entry's first line, its request, is missing; {others} other line{'s' * (others > 1)} left out"
            )
            yield Problem(self._file, found.first, reason, id)
            return
        missing = max(found.lines) + 1 - len(found.lines)
        if missing:
            first = islice((str(n) for n in count() if n not in found.lines), min(missing, 10))
            some = f"{', '.join(first)}{' …' if missing > 10 else ''}"
            reason = f"of the entry's lines {missing} cannot be read or are missing: {some}"
            yield Problem(self._file, found.first, reason, id)
        if found.end is None and not self._is_journal:
            yield Problem(self._file, found.first, "the entry breaks off: it has no end", id)
        problems: list[str] = []
        entry = self._entry(id, found, problems)
        yield from (Problem(self._file, found.first, reason, id) for reason in problems)
        yield entry

    def _entry(self, id: str, found: _Open, problems: list[str]) -> Entry:
        lines = [line for _, line in sorted(found.lines.items())]
        request = lines[0].request
        assert request is not UNSET  # noqa: S101 - decode_line says so of line 0
        end = found.lines[found.end] if found.end is not None else None
        response = next((line.response for line in lines if line.response is not UNSET), None)
        turns = [self._back(line.turn, problems) for line in lines if line.turn is not UNSET]
        last = end or lines[-1]
        return Entry(
            id=id,
            file=self._file,
            line=found.first,
            started=lines[0].started,
            request=self._request(request, problems),
            turn=turns[0] if turns else None,
            more_turns=tuple(turns[1:]),
            events=tuple(Event(x.at, self._back(x.event, problems), x.of) for x in lines if isinstance(x.event, dict)),
            chunks=tuple(chunk for line in lines if (chunk := self._chunk(line, problems))),
            status=response.status if response else None,
            headers=response.headers if response else {},
            message=self._back(last.message, problems),
            usage=self._back(last.usage, problems),
            claude_usage=None if last.claude_usage is None else tuple(last.claude_usage),
            cost_usd=last.cost_usd,
            process=last.process,
            error=self._back(last.error, problems),
            how=next((how for how in HOW if end is not None and how == end.end), "interrupted"),
            ms=last.at,
            left_out=tuple(line.left_out for line in lines if line.left_out is not UNSET),
        )

    def _request(self, line: RequestLine, problems: list[str]) -> Request:
        value, body = None, b""
        try:
            if line.json is not UNSET:
                value = self._back(line.json, problems)
                body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            elif isinstance(line.text, str):
                body = line.text.encode("utf-8", "surrogatepass")
            elif isinstance(line.base64, str):
                body = decode_base64(line.base64)
            elif isinstance(line.blob, dict):
                body = self._blobs.get(str(line.blob.get("$blob")))
        except (LineError, BlobError) as error:
            problems.append(f"the request's body is left out: {error}")
        except (RecursionError, ValueError):
            problems.append("the request's body is left out: it is nested too deeply")
        return Request(line.method, line.path, line.headers, value, body)

    def _chunk(self, line: Line, problems: list[str]) -> Chunk | None:
        if isinstance(line.chunk, str):
            return Chunk(line.at, line.chunk.encode("utf-8", "surrogatepass"))
        if not isinstance(line.chunk_base64, str):
            return None
        try:
            return Chunk(line.at, decode_base64(line.chunk_base64))
        except LineError as error:
            problems.append(f"chunk {line.n} is left out: {error}")
            return None

    def _back(self, value: Any, problems: list[str]) -> Any:
        try:
            return self._blobs.put_back(value, problems)
        except RecursionError:
            problems.append("a value is left out: it is nested too deeply")
            return None
