"""Faults to play with a recorded answer (errors, pauses, cuts), by a file of rules. See docs/faults.md.

Pure, except for :meth:`Faults.read`. The same file and the same requests give the same faults, because random choices
use a seed.

A *chunk* is one event of a stream, as in OpenAI's API. It can be sent in several pieces. So a rule has the same effect
whether the answer is sent in the recorded pieces or in others. An answer without streaming is one chunk. If an answer
has fewer chunks than a rule says, the rule applies to its last chunk. So a rule that is used always has an effect.
"""

import json
import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from cassettes.openai_bodies import last_message, model_of, parsed
from cassettes.replay.pace import Script, Step, split

_ERRORS = {  # status -> OpenAI's type and code; as translate.errors has them
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("server_error", "overloaded"),
}
_MESSAGE = "A fault of the replay."

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"^data(?::|\r|\n|\Z)", re.MULTILINE)
_LAST = re.compile(rb"^data: ?\[DONE\]|^event: ?response\.(?:completed|incomplete|failed)\b", re.MULTILINE)
_OF_RESPONSES = re.compile(rb"^event: ?response\.", re.MULTILINE)
_NUMBER = re.compile(rb'"sequence_number": ?(\d+)')

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(r"[\t\x20-\x7e]*")
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})


class FaultsError(Exception):
    """A file of faults cannot be read. The message says where and why."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The changes to one answer. Times are in ms since the request, at the replay's speed.

    - ``status`` with ``headers`` and ``body`` (JSON or text): send this error instead of the answer.
    - ``delay_ms``: wait before the answer begins.
    - ``stall_ms``: pause after ``stall_after_chunks`` (default 1) or ``stall_after_ms``.
    - ``cut_after_chunks`` or ``cut_after_ms``: close the connection there.
    - ``error_after_chunks``: send an error event in the stream there.
    - ``malformed_chunk``: make this chunk (counted from 1) invalid JSON.
    - ``split``: send lines and characters in two pieces.
    """

    status: int | None = None
    headers: dict[str, str | int] = {}
    body: Any = None
    delay_ms: float | None = None
    stall_ms: float | None = None
    stall_after_chunks: int | None = None
    stall_after_ms: float | None = None
    cut_after_chunks: int | None = None
    cut_after_ms: float | None = None
    error_after_chunks: int | None = None
    malformed_chunk: int | None = None
    split: bool = False

    def __post_init__(self) -> None:
        for name in _AMOUNTS:
            if (value := getattr(self, name)) is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be at least 0" if value < 0 else f"{name} must be a finite number")
        if self.malformed_chunk is not None and self.malformed_chunk < 1:
            raise ValueError("malformed_chunk must be at least 1")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status must be from 200 to 599")
        self._check_what_goes_together()
        self._check_refusal()

    def _check_what_goes_together(self) -> None:
        given = self.given()
        if self.status is None:
            for name in given & {"headers", "body"}:
                raise ValueError(f"{name} can only be used with status")
        else:
            for name in sorted(given - {"status", "headers", "body", "delay_ms"}):
                raise ValueError(f"{name} cannot be used with status")
        for name in sorted(given & {"stall_after_chunks", "stall_after_ms"}):
            if not self.stall_ms:
                raise ValueError(f"{name} can only be used with stall_ms")
        for one in ("stall", "cut"):
            if {f"{one}_after_chunks", f"{one}_after_ms"} <= given:
                raise ValueError(f"{one}_after_ms cannot be used with {one}_after_chunks")

    def _check_refusal(self) -> None:
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name) or not _FIELD.fullmatch(str(value)):
                raise ValueError(f"headers: {name!r} cannot be sent")
            if name.lower() in _FRAMING:
                raise ValueError(f"headers: {name} cannot be set, because the connection sets it")
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"body cannot be sent as JSON: {error}") from None

    def given(self) -> set[str]:
        """Return the names of the keys that are set."""
        values = {name: getattr(self, name) for name in Fault.__struct_fields__}
        told = {name for name, value in values.items() if value is not None and value is not False}
        return told if self.headers else told - {"headers"}


_AMOUNTS = (
    "delay_ms",
    "stall_ms",
    "stall_after_chunks",
    "stall_after_ms",
    "cut_after_chunks",
    "cut_after_ms",
    "error_after_chunks",
)


class Rule(Fault, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault, and the requests that get it. A request must match all conditions that are given.

    The conditions: ``path`` and ``model`` (patterns with ``*``), ``text`` (a part of the last message), ``request``
    (the n-th request of the replay, from 1), ``every`` (each n-th matching request), ``times`` (at most so often) and
    ``chance`` (0 to 1). With ``chaos`` the fault is chosen at random, by the seed.
    """

    path: str = "*"
    model: str = "*"
    text: str = ""
    request: int | None = None
    every: int | None = None
    times: int | None = None
    chance: float | None = None
    chaos: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("request", "every", "times"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.chance is not None and not 0 <= self.chance <= 1:
            raise ValueError("chance must be from 0 to 1")
        given = self.given()
        if not given and not self.chaos:
            raise ValueError("it has no fault")
        if given and self.chaos:
            raise ValueError(f"{min(given)} cannot be used with chaos, which chooses the fault itself")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    seed: int = 0
    fault: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class _Asked:
    """The parts of a request that rules check."""

    path: str
    model: str
    text: str


@dataclass(slots=True)
class _Counted:
    """A rule, with the numbers of requests that matched it (``fitted``) and got its fault (``given``).

    Each rule has its own random generator, so other rules do not change its choices.
    """

    rule: Rule
    random: random.Random
    fitted: int = 0
    given: int = 0

    def is_due(self, asked: _Asked, number: int) -> bool:
        """Count a request, and return whether the rule applies to it."""
        rule = self.rule
        if rule.request is not None and rule.request != number:
            return False
        if not (
            fnmatchcase(asked.path, rule.path) and fnmatchcase(asked.model, rule.model) and rule.text in asked.text
        ):
            return False
        self.fitted += 1
        if rule.every is not None and self.fitted % rule.every:
            return False
        if rule.chance is not None and self.random.random() >= rule.chance:
            return False
        return rule.times is None or self.given < rule.times


class Faults:
    """The rules of one replay, and how often each was used."""

    def __init__(self, rules: Sequence[Rule], *, seed: int = 0) -> None:
        self._rules = [
            _Counted(rule, random.Random(f"{seed}/{number}"))  # noqa: S311 - it need not be secret
            for number, rule in enumerate(rules, 1)
        ]
        self._requests = 0

    @classmethod
    def read(cls, path: Path) -> "Faults":
        """Read a file of rules. Raises FaultsError."""
        try:
            file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        except FileNotFoundError:
            raise FaultsError(f"there is no file {path}") from None
        except OSError as error:
            raise FaultsError(f"{path} cannot be read: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise FaultsError(f"{path} is not TOML: {error}") from None
        except UnicodeDecodeError:
            raise FaultsError(f"{path} is not TOML: it is not UTF-8") from None
        except msgspec.ValidationError as error:
            raise FaultsError(f"{path}: {error}") from None
        rules = []
        for number, fields in enumerate(file.fault, 1):
            try:
                rules.append(msgspec.convert(fields, Rule))
            except msgspec.ValidationError as error:
                raise FaultsError(f"{path}: fault {number}: {error}") from None
        return cls(rules, seed=file.seed)

    def next(self, path: str, body: bytes) -> Fault | None:
        """Return the fault for the next request, or None. Each call counts as one request.

        Every rule counts the requests that match it. If several rules apply, the first one is used.
        """
        self._requests += 1
        asked = _asked(path, body)
        due = [counted for counted in self._rules if counted.is_due(asked, self._requests)]
        if not due:
            return None
        due[0].given += 1
        return _chaotic(due[0].random) if due[0].rule.chaos else due[0].rule


def _asked(path: str, body: bytes) -> _Asked:
    value = parsed(body)
    if not isinstance(value, Mapping):
        return _Asked(path, "", body.decode("utf-8", "replace"))
    return _Asked(path, model_of(value) or "", "\n".join(_texts(last_message(value))))


def _texts(message: Any) -> list[str]:
    """Return the texts of a message: of a string, of its parts, or of a tool's output."""
    if isinstance(message, str):
        return [message]
    if isinstance(message, list):
        return [text for part in message for text in _texts(part)]
    if isinstance(message, Mapping):
        return [text for key in ("content", "text", "output") for text in _texts(message.get(key))]
    return []


def _chaotic(choose: random.Random) -> Fault:
    faults: list[dict[str, Any]] = [
        {"status": choose.choice([429, 500, 502, 503]), "headers": {"retry-after": "1"}},
        {"delay_ms": choose.randint(200, 3000)},
        {"stall_ms": choose.randint(200, 3000), "stall_after_chunks": choose.randint(1, 10)},
        {"cut_after_chunks": choose.randint(0, 10)},
        {"error_after_chunks": choose.randint(0, 10)},
        {"malformed_chunk": choose.randint(1, 10)},
        {"split": True},
    ]
    return Fault(**choose.choice(faults))


def apply(script: Script, fault: Fault) -> Script:
    """Return a script with a fault in it.

    The faults of one rule are combined. For example, a stall and a cut after the same chunk are a pause and then a cut.
    """
    if fault.status is not None:
        return _refusal(script, fault)
    if fault.malformed_chunk is not None:
        script = _malformed(script, fault.malformed_chunk)
    if fault.error_after_chunks is not None and script.is_stream:
        script = _with_error(script, fault.error_after_chunks)
    if fault.cut_after_chunks is not None:
        steps, _ = _parted(script.steps, _end_of(_ends(script), fault.cut_after_chunks))
        script = replace(script, steps=steps, end_ms=_last_ms(script, steps), is_cut=True)
    script = _later(script, fault.delay_ms or 0)
    if fault.stall_ms:
        script = _stalled(script, fault)
    if fault.cut_after_ms is not None:
        script = _cut_at(script, fault.cut_after_ms)
    return split(script) if fault.split else script


def _refusal(script: Script, fault: Fault) -> Script:
    status, body = fault.status or 500, fault.body
    if body is None:
        type, code = _ERRORS.get(status, ("invalid_request_error" if 400 <= status < 500 else "server_error", None))
        body = {"error": {"message": f"{_MESSAGE[:-1]}: {status}.", "type": type, "param": None, "code": code}}
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {name.lower(): value for name, value in script.headers if name.lower() == "x-request-id"}
    headers["content-type"] = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    headers |= {name.lower(): str(value) for name, value in fault.headers.items()}
    at_ms = fault.delay_ms or 0.0
    return Script(
        status=status,
        headers=tuple(headers.items()),
        steps=(Step(at_ms, b"" if status in (204, 304) else data),),
        head_ms=at_ms,
        end_ms=at_ms,
        is_stream=False,
    )


def _ends(script: Script) -> list[int]:
    """Return the end of each chunk, in bytes from the start. A comment between two chunks belongs to the second one."""
    data = b"".join(step.data for step in script.steps)
    if not script.is_stream:
        return [len(data)] if data else []
    ends, start = [], 0
    for end in [*(found.end() for found in _BLANK_LINE.finditer(data)), len(data)]:
        if _DATA.search(data[start:end]):
            ends.append(end)
            start = end
    return ends


def _end_of(ends: Sequence[int], chunk: int) -> int:
    """Return the end of a chunk. Chunk 0 ends at 0. A number that is too large means the last chunk."""
    return ends[min(chunk, len(ends)) - 1] if ends and chunk > 0 else 0


def _parted(steps: Sequence[Step], offset: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Split the steps after ``offset`` bytes. A step that crosses this place becomes two steps."""
    before: list[Step] = []
    for place, step in enumerate(steps):
        if len(step.data) > offset:
            if offset > 0:
                before.append(replace(step, data=step.data[:offset]))
            return tuple(before), (replace(step, data=step.data[max(offset, 0) :]), *steps[place + 1 :])
        before.append(step)
        offset -= len(step.data)
    return tuple(before), ()


def _last_ms(script: Script, steps: Sequence[Step]) -> float:
    return steps[-1].at_ms if steps else script.head_ms or 0.0


def _later(script: Script, ms: float) -> Script:
    return replace(
        script,
        steps=tuple(replace(step, at_ms=step.at_ms + ms) for step in script.steps),
        head_ms=None if script.head_ms is None else script.head_ms + ms,
        end_ms=script.end_ms + ms,
    )


def _stalled(script: Script, fault: Fault) -> Script:
    late = _later(script, fault.stall_ms or 0)
    if fault.stall_after_ms is None:
        chunk = 1 if fault.stall_after_chunks is None else fault.stall_after_chunks
        offset = _end_of(_ends(script), chunk)
        steps = (*_parted(script.steps, offset)[0], *_parted(late.steps, offset)[1])
        return replace(late, steps=steps, head_ms=script.head_ms)
    pairs = zip(script.steps, late.steps, strict=True)
    steps = tuple(before if before.at_ms < fault.stall_after_ms else after for before, after in pairs)
    is_head_late = script.head_ms is not None and script.head_ms >= fault.stall_after_ms
    return replace(late, steps=steps, head_ms=late.head_ms if is_head_late else script.head_ms)


def _cut_at(script: Script, ms: float) -> Script:
    """Cut at a time. Keep the head and the steps that come before it."""
    has_head = script.head_ms is not None and script.head_ms < ms
    return replace(
        script,
        steps=tuple(step for step in script.steps if step.at_ms < ms) if has_head else (),
        head_ms=script.head_ms if has_head else None,
        end_ms=min(ms, script.end_ms),
        is_cut=True,
    )


def _with_error(script: Script, chunks: int) -> Script:
    """End a stream with an error event. It comes before the stream's normal end: no client reads on after that."""
    data = b"".join(step.data for step in script.steps)
    ends = _ends(script)
    starts = [0, *ends]
    good = next((n for n in range(len(ends)) if _LAST.search(data[starts[n] : ends[n]])), len(ends))
    offset = _end_of(ends, min(chunks, good))
    steps, _ = _parted(script.steps, offset)
    at_ms = _last_ms(script, steps)
    event = _error_event(data[:offset], is_response=bool(_OF_RESPONSES.search(data)))
    if offset and not data[:offset].endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):
        event = b"\n\n" + event  # first end the event that was cut
    return replace(script, steps=(*steps, Step(at_ms, event)), end_ms=at_ms, is_cut=False)


def _error_event(sent: bytes, *, is_response: bool) -> bytes:
    error = {"message": _MESSAGE, "type": "server_error", "param": None, "code": None}
    if not is_response:
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    # OpenAI's API reference has the flat fields. OpenAI's SDKs read the fields inside `error`.
    numbers = [int(number) for number in _NUMBER.findall(sent)]
    told: dict[str, Any] = {"type": "error", "code": None, "message": _MESSAGE, "param": None, "error": error}
    told["sequence_number"] = max(numbers, default=-1) + 1
    return b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n"


def _malformed(script: Script, chunk: int) -> Script:
    ends = _ends(script)
    if not ends:
        return script
    start, end = _end_of(ends, min(chunk, len(ends)) - 1), _end_of(ends, chunk)
    before, rest = _parted(script.steps, start)
    within, after = _parted(rest, end - start)
    data = b"".join(step.data for step in within)
    broken = _broken_event(data) if script.is_stream else _broken(data)
    return replace(script, steps=(*before, Step(within[-1].at_ms, broken), *after))


def _broken_event(event: bytes) -> bytes:
    """Break the JSON of an event, as a faulty middlebox would: the JSON ends too early, but the event is complete."""
    lines = event.splitlines(keepends=True)
    ours = [line for line in lines if _DATA.match(line)]
    place = lines.index(ours[0])
    value = b"\n".join(line[5:].strip() for line in ours)
    broken = [b"data: " + line + b"\n" for line in _broken(value).split(b"\n")]
    return b"".join([*lines[:place], *broken, *(line for line in lines[place:] if line not in ours)])


def _broken(value: bytes) -> bytes:
    """Return invalid JSON. An object, list or text is cut. A cut number could still be valid, so a ``{`` is added."""
    value = value.strip()
    if value[:1] not in (b"{", b"[", b'"'):
        return value + b"{"
    end = max(len(value) * 2 // 3, 1)
    while end > 1 and value[end] & 0xC0 == 0x80:  # break the JSON, not its UTF-8
        end -= 1
    return value[:end]
