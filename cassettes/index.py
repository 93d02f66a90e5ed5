"""The index of a cassette: list its entries without reading all of it.

Each file has an index. The index has one line for each entry, with its offset and its summary. The recorder appends a
line for every entry, unless the index is stale. A stale index belongs to another file of the same name, or to an
earlier version of this file. When an index is read, it is rebuilt if it is older than the file or does not cover all of
it. A rebuild checks only the first bytes of each line, and decodes only the lines that the summary needs.
"""

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cassettes import first_words as words
from cassettes.files import all_files, index_path, journals, make_side_folder, open_regular, side_folder
from cassettes.format import HOW, KINDS, MAX_LINES, Entry, LineError, Problem, decode_line
from cassettes.read import raw_lines, read_block, read_journal
from cassettes.summary import Summary
from cassettes.usage import MODEL_HEADER, claude_usage, in_order
from storage.private_files import write_private_file
from translate.usage import MessageUsage, UsageReader

_HEADER = b'{"index": 2}\n'
_HEAD = re.compile(
    rb'\{"id": "([\w.-]{1,100})", "n": \d{1,9}(?:, "(?:at|started)": [^ ]{1,40})?'
    rb'(?:, "of": \d{1,4})?, "([a-z_0-9]{1,20})": '
)


_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)

MAX_INDEX_BYTES = 512 * 1024 * 1024
MAX_MS = 1e12
MAX_STATUS = 999

_EMPTY = msgspec.Raw(b"{}")


class _Model(msgspec.Struct):
    model: Any = None


class _Part(msgspec.Struct):
    """The fields of a line that a summary needs. msgspec skips all others without creating objects."""

    started: str = ""
    request: msgspec.Raw = _EMPTY
    response: msgspec.Raw = _EMPTY
    end: str = "interrupted"
    at: float = 0.0
    usage: dict[str, Any] | None = None
    claude_usage: list[MessageUsage] | None = None
    cost_usd: float | None = None
    error: Any = None
    message: msgspec.Raw = _EMPTY


class _EventPart(msgspec.Struct):
    """The fields of an ``event`` line that has usage."""

    event: dict[str, Any] = msgspec.field(default_factory=dict)
    of: int = 0


class _RequestPart(msgspec.Struct):
    method: str = ""
    path: str = ""
    json: msgspec.Raw = _EMPTY


class _ResponsePart(msgspec.Struct):
    status: int | None = None
    headers: dict[str, Any] = msgspec.field(default_factory=dict)


_part = msgspec.json.Decoder(_Part)
_request = msgspec.json.Decoder(_RequestPart)
_model = msgspec.json.Decoder(_Model)
_response = msgspec.json.Decoder(_ResponsePart)
_event = msgspec.json.Decoder(_EventPart)
_row = msgspec.json.Decoder(Summary)
_encoder = msgspec.json.Encoder()


def asked(started: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary fields of a request in memory. Return None if they must be read from its line instead.

    ``request``: the value of the ``request`` line. This avoids parsing a large request again for its summary.
    """
    body = request.get("json")
    model = body.get("model") if isinstance(body, Mapping) else None
    fields = {
        "started": started,
        "method": request["method"],
        "path": request["path"],
        "model": model if isinstance(model, str) else None,
        "question": words.question_of(body),
    }
    try:
        _encoder.encode(fields)
    except UnicodeEncodeError:  # a lone surrogate; in the line it is an escape
        return None
    return fields


class _Builder:
    """Builds a summary line by line. ``asked``: the result of :func:`asked`, if known."""

    def __init__(self, id: str, offset: int, asked: Mapping[str, Any] | None = None) -> None:
        self.fields: dict[str, Any] = {"id": id, "offset": offset, **(asked or {})}
        self.knows_request = asked is not None
        self.counts = {"event": 0, "chunk": 0}
        self.told: dict[int, UsageReader] = {}
        self.until = offset

    def add(self, kind: str, raw: bytes, until: int) -> bool:
        """Add a line. Return whether it was the last of the entry."""
        self.until = until
        if kind in ("event", "chunk", "chunk_base64"):
            self.counts["event" if kind == "event" else "chunk"] += 1
            if kind == "event" and b'"usage"' in raw:
                with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    line = _event.decode(raw)
                    self.told.setdefault(line.of, UsageReader()).feed(line.event)
            return False
        if kind not in ("request", "response", "end") or (kind == "request" and self.knows_request):
            return False
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._take(kind, _part.decode(raw))
        return kind == "end"

    def _take(self, kind: str, part: _Part) -> None:
        if kind == "request":
            request = _request.decode(part.request)
            self.fields |= {"started": part.started, "method": request.method, "path": request.path}
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):
                model = _model.decode(request.json).model
                self.fields["model"] = model if isinstance(model, str) else None
            self.fields["question"] = words.question(request.json)
        elif kind == "response":
            response = _response.decode(part.response)
            model = response.headers.get(MODEL_HEADER)
            self.fields |= {"status": response.status, "claude_model": model if isinstance(model, str) else None}
        elif kind == "end":
            self.fields |= {"how": part.end, "ms": part.at, "usage": part.usage}
            if part.claude_usage is not None:
                # Older cassettes lack claude_usage. Their cost_usd may cover several exchanges, so it is not used.
                self.fields |= {"claude_usage": part.claude_usage, "cost_usd": part.cost_usd}
            self.fields["error"] = shortened_error(part.error)
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.fields["answer"] = words.answer(msgspec.json.decode(part.message))

    def summary(self, file: Path) -> Summary:
        events, chunks = self.counts.values()
        length = self.until - self.fields["offset"]
        if self.fields.get("claude_usage") is None and self.told:
            self.fields["claude_usage"] = list(in_order(self.told, self.fields.get("usage"))) or None
        return Summary(**self.fields, length=length, events=events, chunks=chunks, file=file.name)


def shortened_error(error: Any) -> dict[str, Any] | str | None:
    """Return a short form of an error for the index. It shows what failed, and which side caused it."""
    if error is None:
        return None
    if not isinstance(error, dict):
        return words.shortened(str(error))
    inner = error.get("error")
    known = {**(inner if isinstance(inner, dict) else {}), **error}
    return {name: words.shortened(str(known[name])) for name in ("type", "code", "message") if known.get(name)}


def summary_of(
    file: Path, offset: int, length: int, lines: Iterable[bytes], asked: Mapping[str, Any] | None = None
) -> Summary:
    """Summarise an entry from its lines. ``asked``: the result of :func:`asked` for its request, if known."""
    builder: _Builder | None = None
    for raw in lines:
        if match := _HEAD.match(raw):
            builder = builder or _Builder(match[1].decode(), offset, asked)
            builder.add(match[2].decode(), raw, offset + length)
    return (builder or _Builder("", offset)).summary(file)


def drop_stale_index(file: Path) -> None:
    """Delete the index if it does not match the file. Call it before appending to the file. Raises OSError."""
    path = index_path(file)
    if _read_index(path, file) is None:
        path.unlink(missing_ok=True)


def append_to_index(path: Path, summary: Summary) -> None:
    """Add the summary of an entry that was just appended. Raises OSError."""
    is_new = not path.exists()
    if is_new and summary.offset > 100:
        return  # the index would be incomplete; the next read builds it
    if path.is_symlink():
        return  # the link may point to another place
    with path.open("ab") as file:
        file.write((_HEADER if is_new else b"") + _line(summary))


def scan(file: Path) -> Iterator[Summary]:
    """Read a file and summarise every entry. Skip lines that cannot be read. Raises OSError."""
    running: dict[str, _Builder] = {}
    for raw in raw_lines(file):
        match = _HEAD.match(raw.raw)
        if match:
            id, kind = match[1].decode(), match[2].decode()
        else:  # written by another program, with other spacing or key order
            try:
                line = decode_line(raw.raw)
            except LineError:
                continue
            id = line.id
            kind = next(kind for kind in KINDS if getattr(line, kind) is not msgspec.UNSET)
        builder = running.get(id)
        if builder is None:
            builder = running[id] = _Builder(id, raw.offset)
        if builder.add(kind, raw.raw, raw.offset + len(raw.raw)):
            yield running.pop(id).summary(file)
    for builder in running.values():
        if builder.fields.get("method"):
            yield builder.summary(file)


class Index:
    """The entries of a cassette. Iterate over it for summaries, in file order. Running exchanges come last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Summary]:
        """Yield a summary for each entry. Raises OSError if the cassette cannot be read."""
        for file, summary in self._all():
            yield msgspec.structs.replace(summary, file=str(file.relative_to(self._path.parent)))

    def entry(self, id: str) -> Entry | None:
        """Return the entry with this ID, or None if there is none. Raises OSError."""
        for file, summary in self._all():
            if summary.id == id:
                for found in read_block(file, summary.offset, summary.length):
                    if isinstance(found, Entry) and found.id == id:
                        return found
        return None

    def _all(self) -> Iterator[tuple[Path, Summary]]:
        seen: set[Path] = set()
        for file in all_files(self._path):
            ids = set()
            for summary in load(file):
                ids.add(summary.id)
                yield file, summary
            folder = side_folder(file)
            for journal in journals(file) if folder not in seen else []:
                yield from ((journal, found) for found in _running(journal) if found.id not in ids)
            seen.add(folder)


def _running(journal: Path) -> Iterator[Summary]:
    """Summarise an exchange that still runs, or whose recorder crashed."""
    for entry in read_journal(journal):
        if isinstance(entry, Problem):
            continue
        model = entry.request.json.get("model") if isinstance(entry.request.json, dict) else None
        yield Summary(
            id=entry.id,
            offset=0,
            length=0,
            started=entry.started,
            method=entry.request.method,
            path=entry.request.path,
            model=model if isinstance(model, str) else None,
            status=entry.status,
            how=entry.how,
            ms=entry.ms,
            claude_usage=list(claude_usage(entry.events)) or None,
            events=len(entry.events),
            chunks=len(entry.chunks),
            question=words.question(entry.request.body),
        )


def load(file: Path) -> list[Summary]:
    """Return the summaries of one file. Use its index if it is valid, else rebuild the index. Raises OSError."""
    path = index_path(file)
    rows = _read_index(path, file)
    if rows is None:
        covered = file.stat()
        rows = list(scan(file))
        with contextlib.suppress(OSError):  # if the index cannot be written, it is rebuilt on every read
            _write_index(path, rows, covered)
    return rows


def _read_index(path: Path, file: Path) -> list[Summary] | None:
    """Return the rows of an index. Return None if the index does not match the current file."""
    try:
        # Stat the file first. If the file grows meanwhile, the worst case is that a valid index seems stale.
        about = file.stat()
        if path.stat().st_mtime_ns < about.st_mtime_ns:
            return None
        with open_regular(path, MAX_INDEX_BYTES) as opened:
            header, *lines = opened.read().split(b"\n")
        rows = [_row.decode(line) for line in lines if line]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if header + b"\n" != _HEADER or not all(_is_possible(row, about.st_size) for row in rows):
        return None
    covered = max((row.offset + row.length for row in rows), default=0)
    if not covered or covered < about.st_size:
        return None
    return [row for row in rows if row.id]


def _is_possible(row: Summary, size: int) -> bool:
    """Return whether a row is plausible for a file of this size.

    The check is needed because an index may come with a cassette from another person.
    """
    return (
        (not row.id or _ID.fullmatch(row.id) is not None)
        and 0 <= row.offset <= size
        and 0 <= row.length <= size - row.offset
        and 0 <= row.ms <= MAX_MS
        and 0 <= row.events <= MAX_LINES
        and 0 <= row.chunks <= MAX_LINES
        and row.how in HOW
        and (row.status is None or 0 <= row.status <= MAX_STATUS)
        and (row.cost_usd is None or math.isfinite(row.cost_usd))
    )


def _line(row: Summary) -> bytes:
    try:
        return _encoder.encode(row) + b"\n"
    except UnicodeEncodeError:
        # A JSON string can have lone surrogates, which UTF-8 cannot encode.
        values = msgspec.structs.asdict(row).items()
        texts = {name: value.encode(errors="replace").decode() for name, value in values if isinstance(value, str)}
        return _encoder.encode(msgspec.structs.replace(row, **texts)) + b"\n"


def _write_index(path: Path, rows: Iterable[Summary], covered: os.stat_result) -> None:
    make_side_folder(path.parent)
    # A row without an ID marks the end of the indexed range, because the last lines may belong to no entry.
    end = Summary(id="", offset=covered.st_size, length=0)
    write_private_file(path, _HEADER + b"".join(map(_line, [*rows, end])))
