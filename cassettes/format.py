"""The lines of a cassette, and the entries that they form.

See docs/cassette.md for examples. The binding definition is docs/cassette.schema.json.

A cassette begins with ``{"cassette": "understudy", "version": 1}``. Every other line has the ID of its entry (``id``)
and its number within the entry (``n``, from 0 without a gap). It is exactly one of: ``request`` (always number 0),
``turn``, ``event``, ``chunk`` or ``chunk_base64``, ``response``, ``left_out``, ``end`` (always last). The lines of an
entry are consecutive.

A journal has the same lines in the order in which they were written. A later line with the same number replaces the
earlier one. The line ``{"append": OFFSET, "file": NAME}`` is written just before the whole entry is appended to the
cassette. It gives the offset at which the entry starts there.
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

from translate import large_json as slowly
from translate.usage import MessageUsage

VERSION = 1
HEADER = {"cassette": "understudy", "version": VERSION}
KINDS = ("request", "turn", "event", "chunk", "chunk_base64", "response", "left_out", "end")
MAX_LINES = 100_000_000

type How = Literal["done", "cut_by_app", "failed", "interrupted"]
"""How an exchange ended: it was complete, the app disconnected, it failed, or recording stopped before its end."""

HOW: tuple[How, ...] = get_args(How.__value__)

type Headers = Mapping[str, str | list[str]]

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_encoder_ascii = json.JSONEncoder()
# Some editors also treat these characters as line breaks.
_BREAKS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029", "\x7f": "\\u007f"}


class LineError(Exception):
    """A line is not a valid cassette line. The message says why."""


class RequestLine(msgspec.Struct, frozen=True):
    """The app's request.

    At most one of json, text, base64 and blob is set. None is set if there was no body, or if it was left out.
    """

    method: str
    path: str
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict)
    json: Any = UNSET
    text: str | UnsetType = UNSET
    base64: str | UnsetType = UNSET
    blob: dict[str, Any] | UnsetType = UNSET


class ResponseLine(msgspec.Struct, frozen=True):
    """The status and headers of the response."""

    status: int
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict)


class Line(msgspec.Struct, frozen=True):
    """One line.

    ``at``: milliseconds since the request arrived. ``of``: the number of the turn, if the request needed several.
    """

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
    end: str | UnsetType = UNSET  # one of HOW; decode_line reports any other word with a clear message
    message: Any = None
    usage: dict[str, Any] | None = None
    claude_usage: list[MessageUsage] | None = None
    cost_usd: float | None = None
    process: str | None = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """The app's request.

    If the body was JSON, ``json`` is the parsed value and ``body`` is that value encoded again. Otherwise ``json`` is
    None.
    """

    method: str
    path: str
    headers: Headers
    json: Any
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """An SDK message or a stream event from Claude.

    ``at_ms``: when it arrived, in milliseconds since the request. ``of``: the number of its turn.
    """

    at_ms: float
    value: Mapping[str, Any]
    of: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes sent to the app in one piece. ``at_ms``: when, in milliseconds since the request."""

    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded exchange.

    ``how``: ``done``, ``cut_by_app``, ``failed`` or ``interrupted``. It is ``interrupted`` if recording stopped before
    the exchange ended, and also while the exchange still runs. ``started``: ISO 8601, UTC. ``status``: None if no
    response was started. ``left_out``: what was not recorded, and why.
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
    """The usage that Claude reported for each of its messages. None if the cassette has it only in the events.

    ``usage`` is the usage that was sent to the app, in the app's API format. ``cost_usd`` was computed from
    ``claude_usage``, at the prices of that time. In older cassettes ``cost_usd`` is Claude Code's own figure, which
    covers several exchanges. Use :mod:`cassettes.usage` to read usage and costs.
    """
    more_turns: tuple[Mapping[str, Any], ...] = ()
    """The turns after the first, if the request needed several (``n`` above 1, or a list of prompts)."""

    @property
    def body(self) -> bytes:
        """All bytes that were sent to the app."""
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a cassette that could not be read. ``line`` counts from 1; 0 means the whole file."""

    file: Path
    line: int
    reason: str
    entry: str | None = None

    def __str__(self) -> str:
        of = f" (entry {self.entry})" if self.entry else ""
        return f"{self.file.name}:{self.line}: {self.reason}{of}" if self.line else f"{self.file.name}: {self.reason}"


def encode_line(fields: Mapping[str, Any], *, beside: bool = False) -> bytes:
    """Encode one line, including its line break. ``beside``: let other threads run while a large line is encoded."""
    write = slowly.write if beside else json.JSONEncoder.encode
    try:
        text = write(_encoder, fields)
        if not text.isascii():
            for character, escape in _BREAKS.items():
                text = text.replace(character, escape)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # The text has a lone surrogate. UTF-8 cannot encode it, but JSON can escape it.
        return write(_encoder_ascii, fields).encode() + b"\n"


def decode_line(raw: bytes) -> Line:
    """Decode one line of any kind. Raises LineError if it is not valid."""
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
    """Decode base64. Raises LineError if it is not valid."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LineError("its base64 cannot be read") from None


def check_header(raw: bytes) -> str | None:
    """Return None if a first line is the header of a supported version, else the reason why not.

    Raises LineError if it is not a header at all.
    """
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
