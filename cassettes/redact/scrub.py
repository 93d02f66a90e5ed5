"""Redaction of text that arrives in pieces. A secret may be split over any number of chunks, events or deltas.

Theory of operation
-------------------
A *lane* is one text that continues from event to event. Examples are the text of a content block, the arguments of a
tool call, and the bytes of a body that is not an event stream. The JSON of each event is walked once. Each string that
may be a piece of a longer text becomes a *leaf* of a lane. The lane's name is the string's path in the JSON, so this
module needs no knowledge of a simulated API.

A lane passes the redacted text to each of its leaves. The end of the text may become a secret together with the text
that follows. This end is held back, and ``redacted:held`` replaces it until the following text decides. Then the leaf
gets its new text, and its record is written again (:meth:`Scrubber.take_changed`). So each record can be written as
soon as it arrives. It never has a secret, and at most its held end is missing until the next record.

The pseudonym is put where the secret began. The other pieces of the secret become empty. The boundaries and times of
chunks do not change.

An event stream sent to an app is processed line by line. A line with JSON is walked like an event, and is encoded again
only if it has a secret. All other lines keep their exact bytes. An incomplete line is held back.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cassettes.redact.pseudonyms import HELD
from cassettes.redact.redact import Redactor, Span, parse_json

CONTEXT = 96
"""How many characters before the undecided text are scanned again. They may have the name of a credential."""

MAX_HELD = 64 * 1024
"""A held text of more characters is treated as a secret, up to the next white space or quotation mark."""

LONG_HELD = 1024
"""A held text of more characters is not scanned again for every piece.

It is scanned again when it is twice as long, or when it is an eighth longer and a word ends. So the total time is
linear in its length, even if the pieces are small.
"""

FORGOTTEN_AT_ONCE = 256
"""Decided text is dropped only when it has this many characters, because each removal costs time."""

MAX_LANES = 512

MAX_UNRECOGNISED = 256
"""A body that is not recognised as an event stream within this many bytes is treated as none."""

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")  # the possible beginnings of a line of an event stream
_HELD_BYTES = HELD.encode()
_ENDS_WORD = re.compile(r"""[\s"'<>,;]""")
_ENDS_SECRET = re.compile(r"""[\s"']""")


class Leaf(Protocol):
    """The place of one piece of a lane's text."""

    def show(self, text: str) -> None:
        """Set the redacted text of this piece."""


@dataclass(slots=True)
class _Piece:
    leaf: Leaf
    start: int
    end: int


class Lane:
    """One text that arrives in pieces."""

    __slots__ = (
        "_from",
        "_hidden",
        "_patience",
        "_pieces",
        "_redactor",
        "_settled",
        "_swallowing",
        "_text",
        "_waiting",
        "_waiting_size",
        "_word_patience",
    )

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = ""
        self._pieces: list[_Piece] = []
        self._settled: list[Span] = []
        self._from = 0
        self._hidden = False
        self._swallowing = False
        self._patience = 0
        self._word_patience = 0
        self._waiting: list[tuple[Leaf, str]] = []
        self._waiting_size = 0

    def feed(self, leaf: Leaf, text: str) -> None:
        """Add a piece. Its leaf already has ``text``. Call :meth:`Leaf.show` only if that must change."""
        if self._swallowing:
            text = self._swallow(leaf, text)
        if self._patience > 0:
            self._waiting.append((leaf, text))
            self._waiting_size += len(text)
            size = self._waiting_size
            if size < self._patience and (size < self._word_patience or not _ENDS_WORD.search(text)):
                leaf.show("")
                return
            self._take()
        else:
            start = len(self._text)
            self._text += text
            self._pieces.append(_Piece(leaf, start, len(self._text)))
        self._settle(*self._look(final=False))

    def _look(self, *, final: bool) -> tuple[list[Span], int]:
        """Scan the undecided text. Return the secrets, and where the end begins that may become one."""
        base = max(0, self._from - 1)
        if not base:
            return self._redactor.scan(self._text, self._from, final=final)
        found, held = self._redactor.scan(self._text[base:], self._from - base, final=final)
        return [Span(s.start + base, s.end + base, s.name) for s in found], held + base

    def _take(self) -> None:
        """Add the waiting pieces to the text."""
        at = len(self._text)
        for leaf, text in self._waiting:
            self._pieces.append(_Piece(leaf, at, at + len(text)))
            at += len(text)
        self._text = "".join([self._text, *(text for _, text in self._waiting)])
        self._waiting.clear()
        self._waiting_size = 0

    def finish(self) -> None:
        """End the text. Decide everything that is held back."""
        self._take()
        self._settle(*self._look(final=True))

    def _settle(self, found: list[Span], held: int) -> None:
        if len(self._text) - held > MAX_HELD:
            found.append(Span(held, len(self._text), self._redactor.learn(self._text[held:], "secret")))
            held, self._swallowing = len(self._text), True
        hidden = held < len(self._text)
        if found or hidden or self._hidden:
            self._settled += found
            self._show(held)
        self._hidden = hidden
        long = len(self._text) - held
        self._patience = min(long, MAX_HELD + 1 - long) if long > LONG_HELD else 0
        self._word_patience = min(long // 8, self._patience)
        self._from = max(self._from, held - CONTEXT)
        if found:
            self._from = max(self._from, *(span.end for span in found))
        self._trim(min(held, self._from))

    def _show(self, held: int) -> None:
        spans = [*self._settled, Span(held, len(self._text), HELD)] if held < len(self._text) else self._settled
        for piece in self._pieces:
            shown, at = [], piece.start
            for span in spans:
                if span.end <= at:
                    continue
                if span.start >= piece.end:
                    break
                if span.start >= at:
                    shown += [self._text[at : span.start], span.name]
                at = min(span.end, piece.end)
            piece.leaf.show("".join([*shown, self._text[at : piece.end]]))

    def _trim(self, needed: int) -> None:
        """Drop the pieces that can no longer change, many at once."""
        if needed < FORGOTTEN_AT_ONCE:
            return
        keep = next((n for n, piece in enumerate(self._pieces) if piece.end > needed), len(self._pieces))
        if not keep:
            return
        cut = self._pieces[keep].start if keep < len(self._pieces) else len(self._text)
        cut = max(0, cut - 1)  # one character more, to see whether a word begins
        self._text = self._text[cut:]
        self._from = max(0, self._from - cut)
        self._pieces = self._pieces[keep:]
        for piece in self._pieces:
            piece.start -= cut
            piece.end -= cut
        self._settled = [
            Span(max(0, span.start - cut), span.end - cut, span.name) for span in self._settled if span.end > cut + 1
        ]

    def _swallow(self, leaf: Leaf, text: str) -> str:
        """Drop the rest of a secret that was too long to hold back. Return the text after it."""
        end = _ENDS_SECRET.search(text)
        rest = text[end.start() :] if end else ""
        self._swallowing = end is None
        leaf.show(rest)
        return rest


class Record:
    """An event or a chunk that becomes one line. ``n``: the number of the line."""

    __slots__ = ("changed", "n")

    def __init__(self, n: int, changed: dict[int, "Record"]) -> None:
        self.n = n
        self.changed = changed

    def touch(self) -> None:
        """Mark the record as changed, so that it is written again."""
        self.changed[self.n] = self


class EventRecord(Record):
    """A JSON-like event."""

    __slots__ = ("value",)

    def __init__(self, n: int, changed: dict[int, Record]) -> None:
        super().__init__(n, changed)
        self.value: Any = None


@dataclass(slots=True)
class _Place:
    """A string in an event's JSON."""

    record: EventRecord
    container: Any
    key: Any

    def show(self, text: str) -> None:
        if self.container[self.key] != text:
            self.container[self.key] = text
            self.record.touch()


@dataclass(slots=True, eq=False)
class _Line:
    """A line of the bytes sent to the app, or a piece of a body without lines."""

    original: bytes
    records: "list[ChunkRecord]" = field(default_factory=list)
    shown: bytes | None = None  # None: the original
    value: Any = None
    head: bytes = b""
    tail: bytes = b""
    same: int = 0  # how many bytes at the start are equal to the original; ``rest``: at the end
    rest: int = 0

    def show(self, text: str) -> None:
        """Set the text of bytes that are not JSON. Each character is one byte."""
        self._become(text.encode("latin-1"))

    def encode_again(self) -> None:
        """Encode the line again from its JSON, in the style of the original."""
        self._become(self.head + _encode_like(self.value, self.original) + self.tail)

    def _become(self, data: bytes) -> None:
        shown = None if data == self.original else data
        if shown != self.shown:
            self.shown = shown
            if shown is not None:
                self.same = _common(self.original, shown)
                most = min(len(self.original), len(shown)) - self.same
                self.rest = min(_common(self.original[::-1], shown[::-1]), most)
            for record in self.records:
                record.touch()

    def part(self, start: int, end: int) -> bytes:
        """Return the redacted bytes that replace ``original[start:end]``."""
        if self.shown is None:
            return self.original[start:end]
        same, rest = self.same, self.rest
        grown = len(self.shown) - len(self.original)

        def moved(place: int) -> int:
            if place <= same:
                return place
            if place >= len(self.original) - rest:
                return place + grown
            return len(self.shown or b"") - rest  # all changed bytes belong to the part in which they begin

        return self.shown[moved(start) : moved(end)]


class ChunkRecord(Record):
    """Bytes sent to the app in one piece."""

    __slots__ = ("parts", "waiting")

    def __init__(self, n: int, changed: dict[int, Record]) -> None:
        super().__init__(n, changed)
        self.parts: list[tuple[_Line, int, int]] = []
        self.waiting = False

    @property
    def data(self) -> bytes:
        """The redacted bytes."""
        data = b"".join([line.part(start, end) for line, start, end in self.parts])
        return data + _HELD_BYTES if self.waiting else data


@dataclass(slots=True)
class _LinePlace:
    """A string in the JSON of a line."""

    line: _Line
    container: Any
    key: Any

    def show(self, text: str) -> None:
        if self.container[self.key] != text:
            self.container[self.key] = text
            self.line.encode_again()


class Scrubber:
    """Redacts one exchange.

    Pass it the events and chunks in order. Write the records that it returns, and those from :meth:`take_changed`.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._lanes: dict[str, Lane] = {}
        self._changed: dict[int, Record] = {}
        self._is_stream: bool | None = None
        self._has_bytes = False
        self._pending: list[bytes] = []  # the start of an incomplete line
        self._pending_parts: list[tuple[ChunkRecord, int]] = []  # its chunks, with the bytes of each

    def event(self, n: int, value: Mapping[str, Any], of: int = 0) -> EventRecord:
        """Redact one SDK message or event from Claude. ``of``: the number of its turn."""
        record = EventRecord(n, self._changed)
        leaves: list[tuple[str, Any, Any, str]] = []
        record.value = self._redactor.document(value, lambda *leaf: leaves.append(leaf))
        for lane, container, key, text in leaves:
            self._lane(f"event{of}{lane}").feed(_Place(record, container, key), text)
        return record

    def chunk(self, n: int, data: bytes) -> ChunkRecord:
        """Redact the bytes of one chunk."""
        record = ChunkRecord(n, self._changed)
        if self._is_stream is None and data:
            self._recognise(b"".join([*self._pending, data]))
        if self._is_stream is False:
            if self._pending:
                self._plain(b"".join(self._pending))
            self._pending_parts.append((record, len(data)))
            self._plain(data)
            return record
        first, *more = data.split(b"\n")
        if not more:
            if data:
                self._pending.append(data)
            self._pending_parts.append((record, len(data)))
            record.waiting = bool(data)
            return record
        *lines, rest = more
        self._complete(record, b"".join([*self._pending, first, b"\n"]))
        for line in lines:
            self._complete(record, line + b"\n")
        self._pending = [rest] if rest else []
        self._pending_parts.append((record, len(rest)))
        record.waiting = bool(rest)
        return record

    def finish(self) -> None:
        """End the exchange. Decide everything that is held back."""
        if self._pending:
            self._plain(b"".join(self._pending))
        for lane in self._lanes.values():
            lane.finish()
        self._lanes.clear()

    def take_changed(self, *, besides: int = -1) -> list[Record]:
        """Return the changed records in order, without the number ``besides``, which the caller writes anyway."""
        if not self._changed:
            return []
        changed = [record for n, record in sorted(self._changed.items()) if n != besides]
        self._changed.clear()
        return changed

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if len(self._lanes) >= MAX_LANES:
                self._lanes.pop(next(iter(self._lanes))).finish()
            lane = self._lanes[name] = Lane(self._redactor)
        return lane

    def _recognise(self, data: bytes) -> None:
        """Decide whether the body is an event stream, as soon as there are enough bytes."""
        start = data.lstrip(b"\xef\xbb\xbf\r\n")
        if start.startswith(_FIELDS):
            self._is_stream = True
        elif len(data) > MAX_UNRECOGNISED or not any(name.startswith(start) for name in _FIELDS):
            self._is_stream = False

    def _plain(self, data: bytes) -> None:
        """Redact bytes that are not a complete line of an event stream. Their chunks are in ``_pending_parts``."""
        line = self._line(data)
        self._pending.clear()
        value = None if self._is_stream or self._has_bytes else _json_or_none(data)
        self._has_bytes = True
        if value is None:
            self._lane("bytes").feed(line, data.decode("latin-1"))
            return
        line.value = self._redactor.document(value)  # a whole body
        if line.value != value:
            line.encode_again()

    def _complete(self, record: ChunkRecord, data: bytes) -> None:
        brought = sum(length for _, length in self._pending_parts)
        self._pending_parts.append((record, len(data) - brought))
        line = self._line(data)
        self._pending.clear()
        if len(data) <= 2 or not data.startswith(b"data:"):
            if len(data) > 2:
                self._lane("bytes").feed(line, data.decode("latin-1"))
            return
        value = _json_or_none(data[5:])
        if value is None:
            self._lane("bytes").feed(line, data.decode("latin-1"))
            return
        leaves: list[tuple[str, Any, Any, str]] = []
        line.head, line.tail = b"data: ", data[len(data.rstrip(b"\r\n")) :]
        line.value = self._redactor.document(value, lambda *leaf: leaves.append(leaf))
        if line.value != value:
            line.encode_again()
        for lane, container, key, text in leaves:
            self._lane(f"chunk{lane}").feed(_LinePlace(line, container, key), text)

    def _line(self, data: bytes) -> _Line:
        """Make a line, and assign its bytes to the chunks that they came from."""
        line = _Line(data)
        at = 0
        for record, length in self._pending_parts:
            if not length:
                continue
            record.parts.append((line, at, at + length))
            line.records.append(record)
            if record.waiting:
                record.waiting = False
                record.touch()
            at += length
        self._pending_parts.clear()
        return line


def _json_or_none(data: bytes) -> Any:
    """Parse a JSON object or array. Return None for anything else, which is then redacted as text."""
    if not data.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return parse_json(data)
    except (ValueError, RecursionError):
        return None


def _common(one: bytes, other: bytes) -> int:
    """Return the length of the common prefix."""
    same, differ = 0, min(len(one), len(other)) + 1
    step = 64
    while same < differ - 1:
        to = min(same + step, differ - 1)
        if one[same:to] == other[same:to]:
            same, step = to, step * 2
        else:
            differ, step = to, max(1, (to - same) // 2)
    return same


def _encode_like(value: Any, original: bytes) -> bytes:
    """Encode JSON with the spacing and escaping of its original line."""
    loose = b'": ' in original
    ascii_only = original.isascii()
    separators = (", ", ": ") if loose else (",", ":")
    return json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
