"""What a cassette's lines are, and the entries they make. docs/cassette.md shows them; docs/cassette.schema.json holds.

A cassette begins with ``{"cassette": "understudy", "version": 1}``. Every other line names its entry (``id``), has a
number in it (``n``, from 0 without a gap), and is exactly one of: ``request`` (always 0), ``turn``, ``event``,
``chunk`` or ``chunk_base64``, ``response``, ``left_out``, ``end`` (always last). An entry's lines stand together.

In a journal the same lines stand as they came; one that has the number of an earlier one replaces it, and
``{"append": OFFSET, "file": NAME}`` says from where on the whole entry was about to be appended to the cassette.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from cassettes import large_json as slowly
from translate.usage import MessageUsage

VERSION = 1
HEADER = {"cassette": "understudy", "version": VERSION}
KINDS = ("request", "turn", "event", "chunk", "chunk_base64", "response", "left_out", "end")
MAX_LINES = 100_000_000

type How = Literal["done", "cut_by_app", "failed", "interrupted"]
"""How an exchange ended, as its last line says: answered, left by the app, broken off, or never ended."""

HOW: tuple[How, ...] = get_args(How.__value__)

type Headers = Mapping[str, str | list[str]]

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_encoder_ascii = json.JSONEncoder()
# Some editors break lines at these too.
_BREAKS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029", "\x7f": "\\u007f"}


class LineError(Exception):
    """A line is not what a line of a cassette is; the message says why."""


class RequestLine(msgspec.Struct, frozen=True):
    """What the app asked. At most one of json, text, base64, blob; none if there was no body, or it was left out."""

    method: str
    path: str
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict)
    json: Any = UNSET
    text: str | UnsetType = UNSET
    base64: str | UnsetType = UNSET
    blob: dict[str, Any] | UnsetType = UNSET


class ResponseLine(msgspec.Struct, frozen=True):
    """The answer's head."""

    status: int
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict)


class Line(msgspec.Struct, frozen=True):
    """One line. ``at`` is in ms since the request came; ``of`` counts the turns of a request that needed several."""

    id: str
    n: int
    at: float = 0.0
    of: int = 0
    started: str = ""
    request: RequestLine | UnsetType = UNSET
    turn: dict[str, Any] | UnsetType = UNSET
    event: dict[str, Any] | UnsetType = UNSET
    chunk: str | UnsetType = UNSET
    chunk_base64: str | UnsetType = UNSET
    response: ResponseLine | UnsetType = UNSET
    left_out: dict[str, Any] | UnsetType = UNSET
    end: str | UnsetType = UNSET  # one of HOW; another word is an error that names it
    message: Any = None
    usage: dict[str, Any] | None = None
    claude_usage: list[MessageUsage] | None = None
    cost_usd: float | None = None
    process: str | None = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """The app's request. ``json`` is None unless the body was JSON; then ``body`` is that JSON, encoded anew."""

    method: str
    path: str
    headers: Headers
    json: Any
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """An SDK message or an event of Claude's, and when it came (ms since the request). ``of``: which turn's."""

    at_ms: float
    value: Mapping[str, Any]
    of: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes sent to the app at once, and when (ms since the request)."""

    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded exchange.

    ``how``: ``done``, ``cut_by_app``, ``failed``, or ``interrupted`` if recording stopped before it ended (an exchange
    that still runs reads so too). ``started``: ISO 8601, UTC. ``status`` is None if no answer was begun. ``left_out``
    says what was not kept, and why.
    """

    id: str
    file: Path
    line: int
    started: str
    request: Request
    turn: Mapping[str, Any] | None
    events: tuple[Event, ...]
    chunks: tuple[Chunk, ...]
    status: int | None
    headers: Headers
    message: Any
    usage: Mapping[str, Any] | None
    cost_usd: float | None
    process: str | None
    error: Any
    how: How
    ms: float
    left_out: tuple[Mapping[str, Any], ...]
    claude_usage: tuple[MessageUsage, ...] | None = None
    """What Claude told of each of its messages; None where the cassette does not have it apart from the events.

    ``usage`` is what the app was told, in its dialect. ``cost_usd`` was computed from this, at the prices of the time;
    in older cassettes it is Claude Code's own figure, which was that of several exchanges. Ask :mod:`cassettes.usage`.
    """
    more_turns: tuple[Mapping[str, Any], ...] = ()
    """The turns after the first, where a request needed several (``n`` above 1, a list of prompts)."""

    @property
    def body(self) -> bytes:
        """All that was sent to the app."""
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of a cassette that could not be read. ``line`` counts from 1; 0 means the whole file."""

    file: Path
    line: int
    reason: str
    entry: str | None = None

    def __str__(self) -> str:
        of = f" (entry {self.entry})" if self.entry else ""
        return f"{self.file.name}:{self.line}: {self.reason}{of}" if self.line else f"{self.file.name}: {self.reason}"


def encode_line(fields: Mapping[str, Any], *, beside: bool = False) -> bytes:
    """Encode one line, its line break included. ``beside``: so that other threads can run meanwhile if it is large."""
    write = slowly.write if beside else json.JSONEncoder.encode
    try:
        text = write(_encoder, fields)
        if not text.isascii():
            for character, escape in _BREAKS.items():
                text = text.replace(character, escape)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can escape and UTF-8 cannot hold.
        return write(_encoder_ascii, fields).encode() + b"\n"


def decode_line(raw: bytes) -> Line:
    """Read one line, whatever it is. Raises LineError."""
    try:
        line = msgspec.convert(json.loads(raw), Line)
    except UnicodeDecodeError as error:
        raise LineError(f"it is not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise LineError(f"it is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise LineError("it is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise LineError(f"it is not as the format has it: {error}") from None
    except (ValueError, OverflowError) as error:  # an integer of thousands of digits
        raise LineError(f"it cannot be read: {error}") from None
    kinds = [kind for kind in KINDS if getattr(line, kind) is not UNSET]
    if len(kinds) != 1:
        raise LineError(f"it must be one of {', '.join(KINDS)}, and is {' and '.join(kinds) or 'none'}")
    if line.n > MAX_LINES:
        raise LineError(f"no entry has more than {MAX_LINES} lines")
    if line.n < 0 or (line.n == 0) != (kinds == ["request"]):
        raise LineError("line 0 of an entry, and only that, is its request")
    if line.end is not UNSET and line.end not in HOW:
        raise LineError(f"an entry ends with one of {', '.join(HOW)}, not {line.end[:40]!r}")
    return line


def decode_base64(text: str) -> bytes:
    """Raises LineError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LineError("its base64 cannot be read") from None


def check_header(raw: bytes) -> str | None:
    """Return why a first line is no header of a cassette that can be read, or None. Raises LineError if it is none."""
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or "cassette" not in header:
        raise LineError('the first line is not {"cassette": "understudy", "version": …}')
    version = header.get("version")
    if isinstance(version, bool) or not isinstance(version, int):
        return f"its version is {str(version)[:40]!r}, not a number"
    if version < 1:
        return f"there is no version {version}"
    if version > VERSION:
        return f"it is of version {version}; this program reads up to {VERSION}"
    return None
