"""Writing cassettes.

Each exchange has its own journal, ``NAME.jsonl.d/ID.part``, while it runs. Every event is one line of the journal and
is written at once. If the process is killed, at most the last line is lost. When the exchange ends, its whole block of
lines is appended to the cassette in one write, and the journal is removed. So the lines of two entries never mix.

An entry is a block of lines instead of one long line for two reasons. Editors and ``git diff`` work by lines. And the
journal can have the same lines as the cassette: a journal left by a crash can be read as it is, and becomes an entry
when recording starts again.

Secrets are removed before the first write (:mod:`cassettes.redact.scrub`), so the journal has none either.

Recording never breaks the exchange that it records. If the disk is full or missing, that is logged once, and
:attr:`Recorder.problem` has the reason. The lines already written stay readable.
"""

import base64
import contextlib
import datetime
import json
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from cassettes import first_words as words
from cassettes.aside import InOrder
from cassettes.blobs import Blobs
from cassettes.files import index_path, journals, make_side_folder, open_regular, part_path, parts
from cassettes.format import HEADER, VERSION, How, LineError, check_header, encode_line
from cassettes.index import append_to_index, asked, drop_stale_index, summary_of
from cassettes.locking import lock
from cassettes.outcome import failed_at_the_proxy, reason
from cassettes.redact.pseudonyms import Names
from cassettes.redact.redact import Redactor, parse_json
from cassettes.redact.scrub import ChunkRecord, EventRecord, Record, Scrubber
from translate import large_json as slowly
from translate.long_work import weight
from translate.usage import MessageUsage

type Fsync = Literal["never", "entry", "event"]

# Headers that concern only the connection, not the exchange.
_UNINTERESTING = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
)
_LARGE_LINE = 4096

_log = logging.getLogger(__name__)


class CassetteError(Exception):
    """A cassette cannot be recorded. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Limits on what is recorded of an exchange. If something is left out, a line of the entry says so.

    ``body_bytes``: of a larger request body, only the size is recorded. ``entry_bytes``: an entry that has reached this
    size gets no more events and chunks. ``turn``, ``events``, ``chunks``: whether these are recorded at all.
    ``failures``: whether to record exchanges that failed for a reason other than the app's request
    (:mod:`cassettes.outcome`). Set it to False when the cassette is recorded for replay.
    """

    body_bytes: int = 32 * 1024 * 1024
    entry_bytes: int = 64 * 1024 * 1024
    turn: bool = True
    events: bool = True
    chunks: bool = True
    failures: bool = True


def new_id(started: datetime.datetime) -> str:
    """Return a new entry ID: the start time to the second, and eight random hexadecimal digits."""
    return f"{started:%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Recorder:
    """Records exchanges into one cassette. Only one recorder can write to a cassette at a time.

    ``path``: a ``.jsonl`` file, or a folder in which this run creates its own file. ``fsync``: when to call fsync. It
    protects against a crash of the system; a crash of the process loses nothing without it. ``max_bytes``: the largest
    size of a file. When the next entry would exceed it, the cassette continues in a new part. ``beside``: redact and
    write large data in a thread, so that the caller need not wait. Small data is written before the call returns.
    Raises CassetteError if the cassette cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        redact: Redactor | None = None,
        fsync: Fsync = "never",
        max_bytes: int | None = None,
        keep: Keep | None = None,
        beside: bool = False,
        clock: Callable[[], datetime.datetime] = _now,
        ids: Callable[[datetime.datetime], str] = new_id,
    ) -> None:
        self.fsync, self.keep = fsync, keep or Keep()
        self.beside = ThreadPoolExecutor(1, thread_name_prefix="recorder") if beside else None
        self.problem: str | None = None
        """The reason of the last recording failure. None if there was none."""
        self.not_kept: deque[str] = deque(maxlen=1000)
        """The last failed exchanges that were not recorded (:attr:`Keep.failures`), each with its reason."""
        self._max_bytes, self._clock, self._ids = max_bytes, clock, ids
        self._mutex = threading.Lock()
        self._running: dict[str, Recording] = {}
        self._descriptor = -1
        try:
            self._open(path, redact or Redactor())
        except OSError as error:
            self._release()
            raise CassetteError(f"the cassette {path} cannot be written: {error.strerror or error}") from error
        except CassetteError:
            self._release()
            raise

    def _open(self, path: Path, redact: Redactor) -> None:
        is_folder = path.is_dir() or path.suffix != ".jsonl"
        first = path / f"{self._clock():%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl" if is_folder else path
        first.parent.mkdir(parents=True, exist_ok=True)
        self._first = first
        self.folder = first.with_name(first.name + ".d")
        make_side_folder(self.folder)
        self._lock_file = (self.folder / "lock").open("ab")
        try:
            lock(self._lock_file, wait=False)
        except OSError:
            raise CassetteError(f"the cassette {first} is being recorded by another process") from None
        home = path / ".names" if is_folder else self.folder
        make_side_folder(home)
        self.redactor = redact.named_by(Names(home / "names", parts(first), self.failed))
        self.blobs = Blobs(self.folder / "blobs")
        self._number = max(len(parts(first)), 1)
        self._open_part()
        # First the journal whose entry was being appended: its partial block must be cut off the end of the file.
        for journal in sorted((_Journal(path) for path in journals(first)), key=lambda journal: journal.marker is None):
            self._take_over(journal)

    @property
    def file(self) -> Path:
        """The file to which entries are appended now."""
        return part_path(self._first, self._number)

    def begin(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        started: datetime.datetime | None = None,
        why_no_body: str | None = None,
    ) -> "Recording":
        """Begin an entry. ``path`` includes the query. ``body`` has no content encoding. ``started`` None means now.

        If ``why_no_body`` gives a reason, only the reason and the size of the body are recorded.
        """
        at = (started or self._clock()).astimezone(datetime.UTC)
        recording = Recording(self, self._ids(at), at, method, path, list(headers), body, why_no_body)
        self._running[recording.id] = recording
        recording.start()
        return recording

    def close(self) -> None:
        """End all running recordings as interrupted, and release the lock. Blocks until everything is written."""
        for recording in list(self._running.values()):
            recording.end("interrupted")
        if self.beside is not None:
            self.beside.shutdown(wait=True)
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if lock_file := getattr(self, "_lock_file", None):
            lock_file.close()

    def _open_part(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        drop_stale_index(self.file)
        self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        size = os.fstat(self._descriptor).st_size
        if not size:
            write_all(self._descriptor, encode_line(HEADER))
            return
        with self.file.open("rb") as file:
            try:
                reason = check_header(file.readline(4096))
            except LineError as error:
                reason = str(error)
            if reason:
                raise CassetteError(f"{self.file} cannot be added to: {reason}. Version {VERSION} is written here.")
            file.seek(size - 1)
            if file.read(1) != b"\n":
                write_all(self._descriptor, b"\n")

    def _take_over(self, journal: "_Journal") -> None:
        """Make an entry from a journal that was left by a crashed recorder."""
        marker, size = journal.marker or {}, os.fstat(self._descriptor).st_size
        if marker.get("file") == self.file.name and 0 < marker["append"] <= size:
            os.ftruncate(self._descriptor, marker["append"])
        if journal.lines and (self.keep.failures or not journal.failed_at_the_proxy):
            descriptor = os.open(journal.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            try:
                write_all(descriptor, b"\n")  # the last line may be incomplete
                self.append(journal.lines, descriptor)
            finally:
                os.close(descriptor)
        journal.path.unlink()

    def append(self, lines: list[bytes], journal: int | None = None, *, asked: Mapping[str, Any] | None = None) -> None:
        """Append a whole entry in one write. If that fails, restore the cassette and raise OSError.

        ``asked``: the result of :func:`cassettes.index.asked` for its request, if known.
        """
        block = b"".join(lines)
        with self._mutex:
            size = os.fstat(self._descriptor).st_size
            if self._max_bytes and size + len(block) > self._max_bytes and size > len(encode_line(HEADER)):
                self._number += 1
                self._open_part()
                size = os.fstat(self._descriptor).st_size
            marked_at = os.fstat(journal).st_size if journal is not None else 0
            try:
                if journal is not None:
                    write_all(journal, encode_line({"append": size, "file": self.file.name}))
                write_all(self._descriptor, block)
                if self.fsync != "never":
                    os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, size)
                if journal is not None:
                    os.ftruncate(journal, marked_at)
                raise
            with contextlib.suppress(OSError):  # a stale index is rebuilt when it is read
                append_to_index(index_path(self.file), summary_of(self.file, size, len(block), lines, asked))

    def ended(self, recording: "Recording") -> None:
        """Remove a recording from the running ones."""
        self._running.pop(recording.id, None)

    def drop(self, what: str, why: str) -> None:
        """Log that an exchange is not recorded. Nothing else shows it."""
        self.not_kept.append(f"{what}: {why}")
        _log.warning("not kept in %s: %s failed (%s); it is asked again next time", self._first.name, what, why)

    def could_not(self, id: str, error: Exception) -> None:
        """Log that a part of an exchange could not be recorded because of a bug in this program."""
        # Only the type is logged: the message of the error may quote the exchange.
        _log.error("something of the exchange %s could not be recorded: %s", id, type(error).__name__)
        self.problem = f"something of the exchange {id} could not be recorded: {type(error).__name__}"

    def failed(self, error: OSError) -> None:
        """Set :attr:`problem`. Log the first failure."""
        if self.problem is None:
            _log.warning("recording to %s has failed: %s", self._first, error.strerror or error)
        self.problem = error.strerror or str(error)


class Recording:
    """One exchange that is being recorded. Times are in milliseconds since the request. Its methods do not raise.

    Large data may be processed later, in a thread. Later calls then wait for their turn: see :mod:`cassettes.aside`.
    """

    def __init__(
        self,
        recorder: Recorder,
        id: str,
        started: datetime.datetime,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        why_no_body: str | None = None,
    ) -> None:
        if not re.fullmatch(r"[\w.-]{1,100}", id):
            raise ValueError(f"{id!r} cannot be an entry's id")
        self.id = id
        self._recorder = recorder
        self._redactor = recorder.redactor
        self._scrubber = Scrubber(self._redactor)
        self._lines: list[bytes] = []
        self._at: list[float] = []
        self._of: dict[int, int] = {}
        self._bytes = 0
        self._left_out: dict[str, Any] | None = None
        self._left_out_n = 0
        self._journal: int | None = None
        self._path = recorder.folder / f"{id}.part"
        self._is_ended = False
        self._status: int | None = None
        self._method = method
        self._target = recorder.redactor.target(path).partition("?")[0]
        self._asked: dict[str, Any] | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._journal = os.open(self._path, flags, 0o600)
        except OSError as error:
            recorder.failed(error)
        limit = recorder.keep.body_bytes
        if why_no_body is None and len(body) > limit:
            why_no_body = f"a body of more than {limit} bytes is not kept"
        self._version = self._redactor.version
        self._order = InOrder(recorder.beside)
        self._size = len(body)
        self._request = started, method, path, headers, body, why_no_body

    def in_order(self, size: int, call: Callable[[], None]) -> None:
        """Run a call after all earlier calls. ``size``: how many bytes it processes."""

        def guarded() -> None:
            try:
                call()
            except Exception as error:
                self._recorder.could_not(self.id, error)

        self._order.do(size, guarded)

    def wait(self) -> None:
        """Block until everything received so far is written."""
        self._order.wait()

    @property
    def is_busy(self) -> bool:
        """Whether large data is still being processed."""
        return self._order.is_busy

    def start(self) -> None:
        """Record the request."""
        self.in_order(self._size, self._start)

    def _start(self) -> None:
        started, method, path, headers, body, why_no_body = self._request
        del self._request
        content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        for _ in range(2):
            head = self._head(method, path, headers)
            version = self._redactor.version
            request = {**head, **(self._body(body, content_type) if why_no_body is None else {})}
            if self._redactor.version == version:
                break  # else the head may contain a secret that was found only in the body
        at = started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._add({"started": at, "request": request})
        self._asked = asked(at, request)
        slowly.forget(request)
        if why_no_body is not None and body:
            self._add({"left_out": {"body_bytes": len(body), "why": why_no_body}})
        self._version = self._redactor.version

    def _head(self, method: str, path: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
        """Return the redacted method, path and headers. Redact a second time if the first pass found a new secret."""
        for _ in range(2):  # not until nothing is new: with very many secrets, the oldest are forgotten again
            version = self._redactor.version
            head = {
                "method": self._redactor.text(method),
                "path": self._redactor.target(path),
                "headers": _fold(self._redactor.headers(headers)),
            }
            if self._redactor.version == version:
                break
        return head

    def _body(self, body: bytes, content_type: str) -> dict[str, Any]:
        if not body:
            return {}
        if body.lstrip()[:1] in (b"{", b"["):
            with contextlib.suppress(ValueError, RecursionError):
                parsed = parse_json(body)
                clean = self._redactor.document(parsed)
                slowly.forget(parsed)
                kept = self._put_away(clean)
                if kept is not clean:
                    slowly.forget(clean)
                return {"json": kept}
        try:
            text = body.decode()
        except UnicodeDecodeError:
            data = self._redactor.data(body)
            if len(data) < _LARGE_LINE * 3 // 4:
                return {"base64": base64.b64encode(data).decode("ascii")}
            try:
                return {"blob": {"$blob": self._recorder.blobs.put(data), "media": content_type or "unknown"}}
            except OSError as error:
                self._recorder.failed(error)
                return {"base64": base64.b64encode(data).decode("ascii")}
        if "x-www-form-urlencoded" in content_type:
            return {"text": self._redactor.form(text)}
        return {"text": self._redactor.text(text)}

    def turn(self, turn: Mapping[str, Any], *, at_ms: float = 0.0, of: int = 0) -> None:
        """Record the Turn made from the request. ``of``: its number, if there are several."""
        self.turn_of(weight(turn), lambda: turn, at_ms=at_ms, of=of)

    def turn_of(self, size: int, make: Callable[[], Mapping[str, Any]], *, at_ms: float = 0.0, of: int = 0) -> None:
        """Record the Turn that ``make`` returns, which is about ``size`` bytes long. A long one is made in a thread."""
        if self._recorder.keep.turn:
            self.in_order(max(self._size, size), lambda: self._turn(make(), at_ms, of))

    def _turn(self, turn: Mapping[str, Any], at_ms: float, of: int) -> None:
        if not self._is_ended:
            self._add({**({"of": of} if of else {}), "turn": self._redactor.document(turn)}, at_ms)

    def event(self, at_ms: float, value: Mapping[str, Any], *, of: int = 0) -> None:
        """Record an SDK message or a stream event from Claude. ``of``: the number of its turn."""
        self.in_order(weight(value), lambda: self._event(at_ms, value, of))

    def _event(self, at_ms: float, value: Mapping[str, Any], of: int) -> None:
        if self._takes("events", self._recorder.keep.events):
            n = self._reserve(at_ms)
            if of:
                self._of[n] = of
            self._write([self._scrubber.event(n, value, of), *self._scrubber.take_changed(besides=n)])

    def chunk(self, at_ms: float, data: bytes) -> None:
        """Record bytes that were sent to the app in one piece."""
        self.in_order(len(data), lambda: self._chunk(at_ms, data))

    def _chunk(self, at_ms: float, data: bytes) -> None:
        if self._takes("chunks", self._recorder.keep.chunks):
            n = self._reserve(at_ms)
            self._write([self._scrubber.chunk(n, data), *self._scrubber.take_changed(besides=n)])

    def respond(self, at_ms: float, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Record the status and the headers of the response."""
        known = list(headers)
        self.in_order(sum(len(value) for _, value in known), lambda: self._respond(at_ms, status, known))

    def _respond(self, at_ms: float, status: int, headers: list[tuple[str, str]]) -> None:
        if not self._is_ended:
            self._status = status
            self._add({"response": {"status": status, "headers": _fold(self._redactor.headers(headers))}}, at_ms)

    def end(
        self,
        how: How,
        *,
        at_ms: float | None = None,
        message: Any = None,
        usage: Mapping[str, Any] | None = None,
        claude_usage: Sequence[MessageUsage] | None = None,
        cost_usd: float | None = None,
        process: str | None = None,
        error: Any = None,
    ) -> None:
        """End the entry. A second call does nothing.

        ``message``: the assembled response. ``process``: how the Claude Code process was chosen. ``usage``: the usage
        sent to the app. ``claude_usage``: the usage that Claude reported for each of its messages. ``cost_usd``: the
        cost of these by the price list, None if unknown. ``at_ms`` None means the time of the last line.
        If :attr:`Keep.failures` is False and the app did not cause the failure, discard the entry and log that.
        """
        about = {
            "message": message,
            "usage": usage,
            "claude_usage": claude_usage,
            "cost_usd": cost_usd,
            "process": process,
            "error": error,
        }
        # All lines are redacted again if a secret was found late.
        self.in_order(max(self._bytes, weight(message)), lambda: self._end(how, at_ms, about))

    def end_with(self, size: int, make: Callable[[], Mapping[str, Any]]) -> None:
        """End the entry. ``make`` returns the arguments of :meth:`end`. ``size``: how many bytes it processes."""

        def end() -> None:
            about = dict(make())
            self._end(about.pop("how"), about.pop("at_ms", None), about)

        self.in_order(max(self._bytes, size), end)

    def _end(self, how: How, at_ms: float | None, about: Mapping[str, Any]) -> None:
        if self._is_ended:
            return
        error, said = about.get("error"), bool(words.answer(about.get("message")))
        if not self._recorder.keep.failures and failed_at_the_proxy(how, self._status, error, self._method, said=said):
            if self._status is not None:
                self._recorder.drop(f"{self._method} {self._target}", reason(self._status, error))
            self.discard()
            return
        self._is_ended = True
        self._scrubber.finish()
        self._write(self._scrubber.take_changed())
        if self._left_out:
            self._replace(self._left_out_n, {"left_out": self._left_out})
        self._clean_again()
        used = about.get("claude_usage")
        about = {**about, "claude_usage": None if used is None else msgspec.to_builtins(list(used))}
        try:
            known = {name: self._redactor.document(value) for name, value in about.items() if value is not None}
        except RecursionError:  # nested too deeply to be redacted; the chunks have the response anyway
            known = {}
        self._add({"end": how, **known}, self._at[-1] if at_ms is None else at_ms)
        self._finish()

    def discard(self) -> None:
        """Discard the entry."""
        self.in_order(0, self._discard)

    def _discard(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._close_journal()
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._recorder.ended(self)

    def _finish(self) -> None:
        try:
            self._recorder.append(self._lines, self._journal, asked=self._asked)
        except OSError as error:
            self._recorder.failed(error)
            self._close_journal()
        else:
            self._close_journal()
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._recorder.ended(self)

    def _clean_again(self) -> None:
        """Redact earlier lines again if a secret was found after they were written to the journal."""
        if self._redactor.version == self._version:
            return
        for n, line in enumerate(self._lines):
            fields = slowly.read(line)
            clean = self._redactor.document(fields)
            if "chunk_base64" in fields:
                data = self._redactor.data(base64.b64decode(fields["chunk_base64"]))
                clean["chunk_base64"] = base64.b64encode(data).decode("ascii")
            if clean != fields:
                self._lines[n] = encode_line(clean, beside=self._order.is_busy)
                if n == 0:
                    self._asked = asked(clean["started"], clean["request"])
            slowly.forget(fields)
            slowly.forget(clean)

    # Lines

    def _takes(self, what: str, wanted: bool) -> bool:
        """Return whether one more event or chunk is recorded. If not, count it as left out."""
        if self._is_ended:
            return False
        limit = self._recorder.keep.entry_bytes
        if wanted and self._bytes < limit:
            return True
        if self._left_out is None:
            self._left_out = {"events": 0, "chunks": 0}
            self._left_out_n = len(self._lines)
            self._left_out[what] += 1
            self._add({"left_out": self._left_out}, self._at[-1])
        else:
            self._left_out[what] += 1
        if wanted:
            self._left_out["why"] = f"an entry of {limit} bytes gets no more"
        return False

    def _reserve(self, at_ms: float) -> int:
        self._at.append(round(at_ms, 3))
        self._lines.append(b"")
        return len(self._lines) - 1

    def _add(self, fields: Mapping[str, Any], at_ms: float = 0.0) -> None:
        self._replace(self._reserve(at_ms), fields)

    def _replace(self, n: int, fields: Mapping[str, Any]) -> None:
        line = self._encode(n, fields)
        self._keep(n, line)
        self._journal_write(line)

    def _write(self, records: Iterable[Record]) -> None:
        """Write new and changed records to the journal, in one write."""
        lines = []
        for record in records:
            line = self._encode(record.n, self._fields(record))
            self._keep(record.n, line)
            lines.append(line)
        if lines:
            self._journal_write(b"".join(lines))

    def _keep(self, n: int, line: bytes) -> None:
        self._bytes += len(line) - len(self._lines[n])
        self._lines[n] = line

    def _fields(self, record: Record) -> dict[str, Any]:
        if isinstance(record, EventRecord):
            of = self._of.get(record.n)
            return {"of": of, "event": record.value} if of else {"event": record.value}
        assert isinstance(record, ChunkRecord)  # noqa: S101 - there are two kinds
        try:
            return {"chunk": record.data.decode()}
        except UnicodeDecodeError:
            return {"chunk_base64": base64.b64encode(record.data).decode("ascii")}

    def _encode(self, n: int, fields: Mapping[str, Any]) -> bytes:
        head = {"id": self.id, "n": n} if n == 0 else {"id": self.id, "n": n, "at": self._at[n]}
        line = encode_line({**head, **fields}, beside=self._order.is_busy)
        if (len(line) >= _LARGE_LINE or b'"$' in line) and not fields.keys() & {"request", "chunk", "chunk_base64"}:
            return encode_line({**head, **self._put_away(dict(fields))}, beside=self._order.is_busy)
        return line

    def _put_away(self, value: Any) -> Any:
        try:
            return self._recorder.blobs.put_away(value)
        except OSError as error:
            self._recorder.failed(error)
            return value

    def _journal_write(self, data: bytes) -> None:
        if self._journal is None:
            return
        try:
            write_all(self._journal, data)
            if self._recorder.fsync == "event":
                os.fsync(self._journal)
        except OSError as error:
            self._recorder.failed(error)
            self._close_journal()

    def _close_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None


class _Journal:
    """A journal left by a crashed recorder: its lines with an ``end`` line, and the last append marker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marker: dict[str, Any] | None = None
        found: dict[int, dict[str, Any]] = {}
        with open_regular(path) as file:
            left = file.read()
        for raw in left.split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                fields = json.loads(raw)
                if isinstance(fields, dict) and isinstance(fields.get("append"), int):
                    self.marker = fields
                elif isinstance(fields, dict) and isinstance(fields.get("n"), int):
                    found[fields["n"]] = fields
        last = found[max(found)] if found else {}
        if found and "end" not in last:
            end = {"id": last.get("id", path.stem), "n": last["n"] + 1, "at": last.get("at", 0.0), "end": "interrupted"}
            found[last["n"] + 1] = end
        self.lines = [encode_line(found[n]) for n in sorted(found)] if 0 in found else []
        summary = summary_of(path, 0, 0, self.lines)
        self.failed_at_the_proxy = summary.failed_at_the_proxy


def write_all(descriptor: int, data: bytes) -> None:
    """Write all data. Use several system calls only if one does not write everything. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _fold(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return headers as a mapping with lower-case names. The value of a repeated header is a list."""
    folded: dict[str, str | list[str]] = {}
    for name, value in pairs:
        key = name.lower()
        before = folded.get(key)
        if key in _UNINTERESTING:
            continue
        if before is None:
            folded[key] = value
        else:
            folded[key] = [*before, value] if isinstance(before, list) else [before, value]
    return folded
