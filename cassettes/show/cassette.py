"""Opens a cassette to show it: finds exchanges by number or id, and lists the file's problems.

A list of a cassette of several gigabytes must appear at once. So it is made from the index and from the first lines of
each exchange, up to the first token. No exchange is read whole, and no line is decoded that is not needed.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from cassettes.assemble import is_event_stream
from cassettes.files import all_files, first_of, journals, open_regular
from cassettes.format import Entry, LineError, Problem, check_header, decode_line
from cassettes.index import Index, scan
from cassettes.read import read_block
from cassettes.show.parts import text_of
from cassettes.show.safe import one_line, size
from cassettes.show.story import claudes_model, header, looks_streamed
from cassettes.show.timeline import TokenReader, is_claudes_token, sound
from cassettes.summary import Summary
from cassettes.usage import MODEL_HEADER

GLANCE_BYTES = 1024 * 1024
STRETCH_BYTES = 4 * 1024 * 1024
MIN_PREFIX = 4

_KIND = re.compile(
    rb'\{"id": "(?P<id>[\w.-]{1,100})", "n": \d{1,9}, (?:"(?:at|of|started)": (?:[\d.e+-]{1,40}|"[^"\\]{0,60}"), ){0,3}'
    rb'"(?P<kind>[a-z_0-9]{1,20})": '
)
_TURNS_MODEL = re.compile(rb'"turn": \{"model": "([^"\\]{1,200})"')
_CHUNKS_MODEL = re.compile(r'"model": ?"([^"\\]{1,200})"')
_FIRST_LINE = 4096


class LookError(Exception):
    """There is nothing to show. The message says why, in one line that is safe to print."""


@dataclass(frozen=True, slots=True)
class Row:
    """An exchange in a list. ``n`` counts from 1. ``file`` has the exchange; a journal if it still runs."""

    n: int
    file: Path
    summary: Summary


@dataclass(frozen=True, slots=True)
class Glance:
    """What the first lines of an exchange say: the answering model, and the time of the first token. None: unknown."""

    answered: str | None = None
    first_token_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Cassette:
    """The exchanges of a cassette, in the order of its files. ``headers``: the problems of the files' first lines."""

    path: Path
    files: tuple[Path, ...]
    rows: tuple[Row, ...]
    headers: tuple[str, ...]

    def find(self, which: str) -> Row:
        """Return an exchange by number (negative: from the end), id, or start of an id. Raises LookError."""
        if re.fullmatch(r"-?\d{1,12}", which):
            n = int(which)
            if 1 <= n <= len(self.rows) or -len(self.rows) <= n <= -1:
                return self.rows[n - 1 if n > 0 else n]
        exact = [row for row in self.rows if row.summary.id == which]
        begun = [row for row in self.rows if row.summary.id.startswith(which)] if len(which) >= MIN_PREFIX else []
        if exact or len(begun) == 1:
            return (exact or begun)[0]
        if begun:
            raise LookError(f"{len(begun)} exchanges have an id that begins with {one_line(which)}")
        has = {0: "no exchange at all", 1: "one exchange, 1"}.get(
            len(self.rows), f"the exchanges 1 to {len(self.rows)}"
        )
        raise LookError(f"{one_line(self.path)} has no exchange {one_line(which)}: it has {has}")

    def problems(self) -> list[str]:
        """Return the problems of the cassette that the index shows, and those in the bytes that it does not cover."""
        found = list(self.headers)
        found += [
            f"exchange {row.n} ({one_line(row.summary.id)}): its request is missing"
            for row in self.rows
            if not row.summary.method
        ]
        blocks: dict[Path, list[Summary]] = {file: [] for file in self.files}
        for row in self.rows:
            blocks.setdefault(row.file, []).append(row.summary)
        for file, summaries in blocks.items():
            if file.suffix != ".part":
                with contextlib.suppress(OSError):
                    found += _uncovered(file, summaries)
        return found


def open_cassette(path: Path) -> Cassette:
    """Open a cassette (a file or a folder) with its index. Raises LookError."""
    try:
        files = all_files(path)
        if not files:
            raise LookError(_nothing_at(path))
        return _open(path, files)
    except OSError as error:
        raise LookError(f"{one_line(path)} cannot be read: {error.strerror or error}") from None


def _nothing_at(path: Path) -> str:
    if path.is_dir():
        return f"there is no cassette in the folder {one_line(path)}"
    return f"{one_line(path)} is neither a file nor a folder" if path.exists() else f"there is no file {one_line(path)}"


def _open(path: Path, files: list[Path]) -> Cassette:
    wrong = {file: reason for file in files if (reason := _why_not(file))}
    rows: list[Row] = []
    for first in files:
        if first_of(first) != first and first_of(first) in files:
            continue  # a later part: the index of the first file lists it
        if first in wrong and not wrong[first].entries:
            continue  # not a cassette: do not write an index beside a file of another program
        for summary in Index(first):
            file = first.parent / summary.file
            if file not in wrong or wrong[file].entries:
                rows.append(Row(len(rows) + 1, file, summary))
    if not rows and len(wrong) == len(files):
        raise LookError(f"{one_line(path)} is not a cassette that can be read: {wrong[files[0]].reason}")
    readable = tuple(file for file in files if file not in wrong or wrong[file].entries)
    headers = tuple(f"{one_line(file.name)}:1: {why.reason}" for file, why in wrong.items())
    return Cassette(path, readable, tuple(rows), headers)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """The problem of a file's first line, and whether entries follow it nevertheless."""

    reason: str
    entries: bool


def _why_not(file: Path) -> _Wrong | None:
    with open_regular(file) as opened:
        first = opened.readline(_FIRST_LINE)
    if not first:
        return _Wrong("it is empty: not even the line with its version is there", entries=False)
    try:
        reason = check_header(first)
        return _Wrong(one_line(reason), entries=False) if reason else None
    except LineError as error:
        return _Wrong(one_line(error), entries=next(iter(scan(file)), None) is not None)


def _uncovered(file: Path, summaries: Iterable[Summary]) -> Iterator[str]:
    """Yield a problem for each range of bytes that belongs to no exchange of the index."""
    blocks = sorted((summary.offset, summary.offset + summary.length) for summary in summaries)
    with open_regular(file) as opened:
        end = opened.seek(0, 2)
        opened.seek(0)
        at = len(line) if _is_header(line := opened.readline(_FIRST_LINE)) else 0
        for begin, until in [*blocks, (end, end)]:
            if begin > at:
                opened.seek(at)
                stretch = opened.read(min(begin - at, STRETCH_BYTES))
                is_being_written = begin == end and not stretch.endswith(b"\n") and bool(journals(file))
                if stretch.strip() and not is_being_written:
                    yield from _said_of(file, at, begin - at)
            at = max(at, until)


def _is_header(line: bytes) -> bool:
    try:
        check_header(line)
    except LineError:
        return False
    return True


def _said_of(file: Path, offset: int, length: int) -> Iterator[str]:
    place = f"{one_line(file.name)}, byte {offset}"
    reasons = []
    if length <= STRETCH_BYTES:
        reasons = [one_line(found.reason) for found in read_block(file, offset, length) if isinstance(found, Problem)]
    yield from [f"{place}: {reason}" for reason in reasons] or [f"{place}: {size(length)} belong to no exchange"]


def load(row: Row) -> tuple[Entry, list[str]]:
    """Return an exchange and its problems. Raises LookError."""
    reasons, entry = [], None
    for found in read_block(row.file, row.summary.offset, row.summary.length):
        if isinstance(found, Entry):
            # In an edited file a block may contain lines of other exchanges.
            entry = entry or (found if found.id == row.summary.id else None)
        elif found.entry in (None, row.summary.id):
            reasons.append(one_line(found.reason))
    if entry is None:
        why = reasons[0] if reasons else "it is gone, the cassette was changed meanwhile"
        raise LookError(f"exchange {row.n} ({one_line(row.summary.id)}) cannot be read: {why}")
    return entry, reasons


def glances(rows: Iterable[Row]) -> Iterator[Glance]:
    """Read the first lines of each exchange."""
    for file, group in groupby(rows, key=lambda row: row.file):
        with contextlib.ExitStack() as stack:
            opened = None
            with contextlib.suppress(OSError):
                opened = stack.enter_context(open_regular(file))
            for row in group:
                yield _glance(opened, row) if opened is not None else Glance()


def _glance(opened: BinaryIO, row: Row) -> Glance:
    looking = _Glancing()
    try:
        opened.seek(row.summary.offset)
        left = min(row.summary.length, GLANCE_BYTES) or GLANCE_BYTES  # a journal's length is not known
        while left > 0 and not looking.is_done:
            line = opened.readline(left)
            if not line:
                break
            left -= len(line)
            looking.feed(line, row.summary.id)
    except OSError:
        return Glance()
    return looking.glance()


class _Glancing:
    """Reads the lines of an exchange until the answering model and the time of the first token are known."""

    def __init__(self) -> None:
        self._by_claude = self._by_header = self._by_turn = self._by_answer = ""
        self._is_stream: bool | None = None
        self._reader = TokenReader()
        self._at: float | None = None
        self._claudes_at: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything is known. The model comes before the first token."""
        found = self.glance()
        return self._is_stream is not None and found.answered is not None and found.first_token_ms is not None

    def glance(self) -> Glance:
        """Return what is known so far."""
        answered = self._by_claude or self._by_header or self._by_turn or self._by_answer
        at = self._at if self._is_stream else self._claudes_at
        return Glance(answered or None, at if at is not None and sound([at]) else None)

    def feed(self, raw: bytes, id: str) -> None:
        """Read a line. Ignore a line that cannot be read."""
        match = _KIND.match(raw)
        if match is not None:
            if match["id"].decode() != id:
                return
            kind = match["kind"].decode()
            if kind == "turn" and (model := _TURNS_MODEL.search(raw, match.start("kind") - 1)):
                self._by_turn = self._by_turn or model[1].decode("utf-8", "replace")
                return
            if kind not in ("turn", "response", "event", "chunk"):
                return
        with contextlib.suppress(LineError):
            line = decode_line(raw)
            if line.id == id:
                self._take(line)

    def _take(self, line: Any) -> None:
        if line.response is not msgspec.UNSET:
            self._by_header = header(line.response.headers, MODEL_HEADER)
            if content_type := header(line.response.headers, "content-type"):
                self._is_stream = is_event_stream(content_type)
        elif isinstance(line.turn, dict):
            self._by_turn = self._by_turn or text_of(line.turn.get("model"))
        elif isinstance(line.event, dict):
            self._by_claude = self._by_claude or claudes_model(line.event)
            if self._claudes_at is None and is_claudes_token(line.event):
                self._claudes_at = line.at
        elif isinstance(line.chunk, str):
            self._chunk(line.at, line.chunk)

    def _chunk(self, at: float, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        if self._is_stream is None:
            self._is_stream = looks_streamed(data)
        if not self._by_answer and (model := _CHUNKS_MODEL.search(text)):
            self._by_answer = model[1]
        if self._is_stream and self._at is None and self._reader.feed(data)[1]:
            self._at = at
