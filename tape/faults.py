"""Faults to play with a recorded answer: what an app must be able to bear, by a file of rules. docs/faults.md.

Pure but for :meth:`Faults.read`. The same file and the same requests give the same faults: chance is by seed.
"""

import json
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from tape.pace import Script, Step, split

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}


class FaultsError(Exception):
    """A file of faults cannot be read; the message says where and why."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: which requests get a fault, and which. All that is given must fit; the first rule that fits counts.

    Which: ``path`` and ``model`` (patterns with ``*``), ``text`` (somewhere in the body), ``request`` (the n-th of the
    replay, from 1), ``every`` (each n-th that fits), ``times`` (no more often than that), ``chance`` (0 to 1).
    What: ``status`` with ``headers`` and ``body``; ``delay_ms`` before the answer begins; ``stall_ms`` after
    ``stall_after_chunks``; ``cut_after_chunks`` or ``cut_after_ms``; ``error_after_chunks``: an error event in band;
    ``malformed_chunk``: the n-th chunk is broken, from 1; ``split``: lines and characters come in pieces; ``chaos``:
    one of these by seed.
    """

    path: str = "*"
    model: str = "*"
    text: str = ""
    request: int | None = None
    every: int | None = None
    times: int | None = None
    chance: float | None = None
    status: int | None = None
    headers: dict[str, str] = {}
    body: Any = None
    delay_ms: float = 0
    stall_ms: float = 0
    stall_after_chunks: int = 1
    cut_after_chunks: int | None = None
    cut_after_ms: float | None = None
    error_after_chunks: int | None = None
    malformed_chunk: int | None = None
    split: bool = False
    chaos: bool = False

    def __post_init__(self) -> None:
        for name in ("request", "every", "times", "malformed_chunk", "stall_after_chunks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} counts from 1")
        for name in ("delay_ms", "stall_ms", "cut_after_chunks", "cut_after_ms", "error_after_chunks"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name} is less than 0")
        if self.chance is not None and not 0 <= self.chance <= 1:
            raise ValueError("chance is from 0 to 1")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status is from 200 to 599")
        if not self.has_effect():
            raise ValueError("it has no fault")

    def has_effect(self) -> bool:
        """Whether anything would happen."""
        told = (self.status, self.cut_after_chunks, self.cut_after_ms, self.error_after_chunks, self.malformed_chunk)
        return any(value is not None for value in told) or bool(
            self.delay_ms or self.stall_ms or self.split or self.chaos
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    seed: int = 0
    fault: list[dict[str, Any]] = []


@dataclass(slots=True)
class _Counted:
    rule: Rule
    fitted: int = 0
    given: int = 0


class Faults:
    """The rules of one replay, and how often each was used."""

    def __init__(self, rules: list[Rule], *, seed: int = 0) -> None:
        self._rules = [_Counted(rule) for rule in rules]
        self._random = random.Random(seed)  # noqa: S311 - nobody is kept from guessing it
        self._requests = 0

    @classmethod
    def read(cls, path: Path) -> "Faults":
        """Read a file of rules. Raises FaultsError."""
        try:
            file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        except OSError as error:
            raise FaultsError(f"the faults {path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise FaultsError(f"{path}: {error}") from None
        rules = []
        for number, fields in enumerate(file.fault, 1):
            try:
                rules.append(msgspec.convert(fields, Rule))
            except msgspec.ValidationError as error:
                raise FaultsError(f"{path}: fault {number}: {error}") from None
        return cls(rules, seed=file.seed)

    def next(self, path: str, body: bytes) -> Rule | None:
        """Return what befalls a request, None if nothing does; it counts as one more request."""
        self._requests += 1
        text = body.decode("utf-8", "replace")
        for counted in self._rules:
            rule = counted.rule
            if not self._fits(rule, path, text):
                continue
            counted.fitted += 1
            if rule.every is not None and counted.fitted % rule.every:
                continue
            if rule.times is not None and counted.given >= rule.times:
                continue
            if rule.chance is not None and self._random.random() >= rule.chance:
                continue
            counted.given += 1
            return self._chaotic() if rule.chaos else rule
        return None

    def _fits(self, rule: Rule, path: str, text: str) -> bool:
        if rule.request is not None and rule.request != self._requests:
            return False
        return fnmatchcase(path, rule.path) and fnmatchcase(_model(text), rule.model) and rule.text in text

    def _chaotic(self) -> Rule:
        choose = self._random
        faults: list[dict[str, Any]] = [
            {"status": choose.choice([429, 500, 502, 503]), "headers": {"retry-after": "1"}},
            {"delay_ms": choose.randint(200, 3000)},
            {"stall_ms": choose.randint(200, 3000), "stall_after_chunks": choose.randint(1, 10)},
            {"cut_after_chunks": choose.randint(0, 10)},
            {"error_after_chunks": choose.randint(0, 10)},
            {"malformed_chunk": choose.randint(1, 10)},
            {"split": True},
        ]
        return Rule(**choose.choice(faults))


def _model(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(value.get("model", "")) if isinstance(value, Mapping) else ""


def apply(script: Script, fault: Rule) -> Script:
    """Return what is sent of a script with a fault in it."""
    if fault.status is not None:
        return _refusal(script, fault)
    if fault.split:
        script = split(script)
    steps = list(script.steps)
    if fault.malformed_chunk is not None and fault.malformed_chunk <= len(steps):
        place = fault.malformed_chunk - 1
        steps[place] = replace(steps[place], data=_broken(steps[place].data))
    if fault.stall_ms:
        steps = [
            replace(step, at_ms=step.at_ms + (fault.stall_ms if place >= fault.stall_after_chunks else 0))
            for place, step in enumerate(steps)
        ]
        script = replace(script, end_ms=script.end_ms + fault.stall_ms)
    if fault.error_after_chunks is not None and script.is_stream:
        steps = steps[: fault.error_after_chunks]
        at_ms = steps[-1].at_ms if steps else script.head_ms
        steps.append(Step(at_ms, _error_event(script)))
        script = replace(script, end_ms=at_ms, is_cut=False)
    if fault.cut_after_chunks is not None:
        steps = steps[: fault.cut_after_chunks]
        script = replace(script, end_ms=steps[-1].at_ms if steps else script.head_ms, is_cut=True)
    if fault.cut_after_ms is not None:
        steps = [step for step in steps if step.at_ms <= fault.cut_after_ms]
        head_ms = min(script.head_ms, fault.cut_after_ms)
        script = replace(script, head_ms=head_ms, end_ms=fault.cut_after_ms, is_cut=True)
    delay = fault.delay_ms
    return replace(
        script,
        steps=tuple(replace(step, at_ms=step.at_ms + delay) for step in steps),
        head_ms=script.head_ms + delay,
        end_ms=script.end_ms + delay,
    )


def _refusal(script: Script, fault: Rule) -> Script:
    status = fault.status or 500
    told = {"message": f"A fault of the replay: {status}.", "type": _TYPES.get(status, "server_error")}
    body = fault.body if fault.body is not None else {"error": {**told, "param": None, "code": None}}
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **{name.lower(): value for name, value in fault.headers.items()}}
    return Script(
        status=status,
        headers=tuple(headers.items()),
        steps=(Step(fault.delay_ms, data),),
        head_ms=fault.delay_ms,
        end_ms=fault.delay_ms,
        is_stream=False,
    )


def _broken(data: bytes) -> bytes:
    """Break a chunk as a bad network box would: its JSON ends too early, the event does not."""
    line, end, rest = data.partition(b"\n")
    return line[: max(len(line) * 2 // 3, 1)] + (end or b"\n") + rest


def _error_event(script: Script) -> bytes:
    error = {"message": "A fault of the replay.", "type": "server_error", "param": None, "code": None}
    if any(step.data.startswith(b"event: response.") for step in script.steps):
        told = {"type": "error", "code": None, "message": error["message"], "param": None, "sequence_number": 0}
        return b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n"
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
