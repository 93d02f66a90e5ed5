"""Which recorded entry answers a request. Pure: entries and a request go in, an entry or a readable diff comes out.

Two requests are the same if their method, path and canonical body are. Canonical means: keys in order, white space of
texts as one space, and what differs from run to run (ids, UUIDs, times, pseudonyms) replaced by what it is. A request
to be found must have been redacted as the recorded ones were; which names its secrets got does not matter.
"""

import contextlib
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tape.format import Entry
from tape.names import PSEUDONYM
from tape.redact import parse_path, path_matches

IGNORED_PATHS = (
    "$.user",
    "$.metadata",
    "$.safety_identifier",
    "$.prompt_cache_key",
    "$.store",
    "$.stream_options",
)
"""Who asks and how it is kept: nothing that an answer depends on."""

IGNORED_PATTERNS: Mapping[str, str] = {  # pattern -> what stands for it
    PSEUDONYM.pattern: "<secret>",
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b": "<uuid>",
    r"\b(?:chatcmpl|call|toolu|msg|resp|rs|fc|run|thread|asst|file|req|item|cmpl)[-_][A-Za-z0-9]{8,}\b": "<id>",
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?": "<time>",
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d(?: GMT| [+-]\d{4})?": "<time>",
    r"\b1[5-9]\d{8}(?:\.\d+|\d{3})?\b": "<time>",
}
"""What differs from run to run inside texts."""

MAX_DIFF_LINES = 60


@dataclass(frozen=True, slots=True)
class Rules:
    """What is not compared. ``reuse``: an entry answers any number of times; else once.

    Entries with the same request answer in the order in which they were recorded; with ``reuse`` the last one stays.
    """

    paths: Sequence[str] = IGNORED_PATHS
    patterns: Mapping[str, str] | None = None  # None: IGNORED_PATTERNS
    reuse: bool = True


@dataclass(frozen=True, slots=True)
class Miss:
    """No entry answers. ``nearest`` is the one that differs least, if there is any; ``diff`` shows how."""

    nearest: Entry | None
    diff: str


class Matcher:
    """Finds entries for requests. Raises ValueError or re.error for rules that cannot be read."""

    def __init__(self, entries: Iterable[Entry], rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._paths = tuple(parse_path(path) for path in self._rules.paths)
        patterns = IGNORED_PATTERNS if self._rules.patterns is None else self._rules.patterns
        self._patterns = tuple((re.compile(pattern), instead) for pattern, instead in patterns.items())
        self._entries: list[Entry] = []
        self._waiting: dict[str, list[Entry]] = {}
        self._spent: dict[str, Entry] = {}
        for entry in entries:
            self._entries.append(entry)
            key = self.key(entry.request.method, entry.request.path, _body_of(entry))
            self._waiting.setdefault(key, []).append(entry)

    def find(self, method: str, path: str, body: Any) -> Entry | Miss:
        """Return the entry that answers, or why none does. ``body``: JSON, else text or bytes; path with its query."""
        key = self.key(method, path, body)
        if waiting := self._waiting.get(key):
            self._spent[key] = waiting.pop(0)
            return self._spent[key]
        if key in self._spent:
            spent = self._spent[key]
            return (
                spent if self._rules.reuse else Miss(spent, f"entry {spent.id} is the same, and has answered already")
            )
        return self._miss(method, path, body)

    def key(self, method: str, path: str, body: Any) -> str:
        """Return the canonical form of a request: the same for requests that count as the same."""
        parts = urlsplit(path)
        query = sorted(parse_qsl(parts.query, keep_blank_values=True))
        whole = [method.upper(), parts.path, self.canonical(query), self.canonical(body)]
        return json.dumps(whole, sort_keys=True, ensure_ascii=False)

    def canonical(self, value: Any, path: tuple[str, ...] = ()) -> Any:
        """Return a JSON-like value without what is not compared. Keys come in order, and texts without odd spaces."""
        if isinstance(value, Mapping):
            places = {key: (*path, key) for key in sorted(value)}
            return {key: self.canonical(value[key], at) for key, at in places.items() if not self._is_ignored(at)}
        if isinstance(value, (list, tuple)):
            return [self.canonical(item, (*path, str(place))) for place, item in enumerate(value)]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        if isinstance(value, str):
            return self._text(value)
        # 1 and 1.0 are the same number.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _text(self, text: str) -> str:
        if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
            with contextlib.suppress(ValueError, RecursionError):
                # The arguments of a tool call: JSON, whose keys have no order either.
                text = json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)
        for pattern, instead in self._patterns:
            text = pattern.sub(instead, text)
        return " ".join(text.split())

    def _is_ignored(self, path: tuple[str, ...]) -> bool:
        return any(path_matches(rule, path) for rule in self._paths)

    def _miss(self, method: str, path: str, body: Any) -> Miss:
        if not self._entries:
            return Miss(None, f"nothing is recorded, so nothing answers {method} {path}")
        asked = Counter(_lines(self.canonical(body)))

        def likeness(entry: Entry) -> tuple[bool, float]:
            recorded = Counter(_lines(self.canonical(_body_of(entry))))
            both = max((asked | recorded).total(), 1)
            same_place = (entry.request.method, urlsplit(entry.request.path).path) == (method, urlsplit(path).path)
            return same_place, (asked & recorded).total() / both

        nearest = max(self._entries, key=likeness)
        lines = [f"no recorded request is like {method} {path}; the nearest is {nearest.id} of {nearest.started}"]
        if (nearest.request.method, nearest.request.path) != (method, path):
            lines.append(f"request: recorded {nearest.request.method} {nearest.request.path}, now {method} {path}")
        lines += difference(self.canonical(_body_of(nearest)), self.canonical(body))
        if len(lines) > MAX_DIFF_LINES:
            lines[MAX_DIFF_LINES:] = [f"… and {len(lines) - MAX_DIFF_LINES} more lines"]
        return Miss(nearest, "\n".join(lines))


def difference(recorded: Any, now: Any) -> list[str]:
    """Show how two canonical bodies differ, by system prompt, messages, tools and the rest, in that order."""
    if not (isinstance(recorded, dict) and isinstance(now, dict)):
        return _changed("body", recorded, now)
    old_system, old_messages = _conversation(recorded)
    new_system, new_messages = _conversation(now)
    lines = _changed("system prompt", old_system, new_system)
    lines += _messages(old_messages, new_messages)
    lines += _tools(_by_name(recorded), _by_name(now))
    shown = {"messages", "input", "instructions", "tools", "functions"}
    for name in sorted((recorded.keys() | now.keys()) - shown):
        lines += _changed(name, recorded.get(name), now.get(name))
    return lines


def _conversation(body: Mapping[str, Any]) -> tuple[str | None, list[Any]]:
    """Return the system prompt and the other messages, of whichever dialect."""
    messages = body.get("messages", body.get("input", []))
    messages = messages if isinstance(messages, list) else [{"role": "user", "content": messages}]
    is_system = [isinstance(m, dict) and m.get("role") in ("system", "developer") for m in messages]
    prompts = [_shown(m.get("content")) for m, system in zip(messages, is_system, strict=True) if system]
    if body.get("instructions") is not None:
        prompts.insert(0, _shown(body["instructions"]))
    return "\n".join(prompts) or None, [m for m, system in zip(messages, is_system, strict=True) if not system]


def _messages(old: list[Any], new: list[Any]) -> list[str]:
    """Align the messages: those in common stay silent, so an inserted one does not make all that follow differ."""
    lines: list[str] = []
    matcher = difflib.SequenceMatcher(None, [_shown(m) for m in old], [_shown(m) for m in new], autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            continue
        for place in range(max(b - a, d - c)):
            before = old[a + place] if a + place < b else None
            after = new[c + place] if c + place < d else None
            number = (c if after is not None else a) + place + 1
            lines += _changed(f"message {number} ({_role(after or before)})", before, after)
    return lines


def _role(message: Any) -> str:
    return str(message.get("role", message.get("type", "?"))) if isinstance(message, dict) else "?"


def _by_name(body: Mapping[str, Any]) -> dict[str, Any]:
    tools = [*_list(body.get("tools")), *_list(body.get("functions"))]
    named = {}
    for tool in tools:
        inner = tool.get("function", tool) if isinstance(tool, dict) else {}
        name = inner.get("name") or inner.get("type") if isinstance(inner, dict) else None
        named[str(name)] = tool
    return named


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tools(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        line
        for name in sorted(old.keys() | new.keys())
        for line in _changed(f"tool {name}", old.get(name), new.get(name))
    ]


def _changed(what: str, old: Any, new: Any) -> list[str]:
    """Return the lines that show a change, or none."""
    if old == new:
        return []
    if old is None:
        return [f"{what}: not in the recording:", *(f"  + {line}" for line in _lines(new))]
    if new is None:
        return [f"{what}: only in the recording:", *(f"  - {line}" for line in _lines(old))]
    before, after = _lines(old), _lines(new)
    if len(before) == len(after) == 1 and len(before[0]) + len(after[0]) < 80:
        return [f"{what}: recorded {before[0]}, now {after[0]}"]
    diff = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    return [f"{what}:", *(f"  {line[:1]} {line[1:]}" for line in diff if not line.startswith("@@"))]


def _lines(value: Any) -> list[str]:
    """Write a value over lines that can be compared: JSON indented, texts by sentence."""
    if isinstance(value, str):
        return re.split(r"(?<=[.!?:;]) |\n", value)
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    return [part for line in text.split("\n") for part in re.split(r"(?<=[.!?]) (?=\S)", line)]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _body_of(entry: Entry) -> Any:
    return entry.request.json if entry.request.json is not None else entry.request.body
