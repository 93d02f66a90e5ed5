"""Finds the recorded entry that answers a request. Pure: returns an entry, or a readable diff if there is none.

Two requests are the same if their method, path and canonical body are the same. In the canonical body the keys are
sorted, white space in texts is one space, and values that differ from run to run (ids, UUIDs, times, pseudonyms) are
replaced with their kind. The request must be redacted in the same way as the recorded ones. The names that its secrets
get do not matter.

If several entries match, an entry with the request's own ids and times comes first. A replay sends the recorded ids. So
a request that continues a response (``previous_response_id``) gets the answer that was recorded for that response, in
whatever order the requests come.
"""

import contextlib
import difflib
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from cassettes import large_json as slowly
from cassettes.format import Entry, Request
from cassettes.openai_bodies import tool_name, tools_of
from cassettes.redact.patterns import Pattern
from cassettes.redact.redact import parse_path, path_matches
from cassettes.replay.library import GoneError

type OnMiss = Literal["fail", "live", "record"]
"""What to do with a request that is not in the cassette: answer 409, ask Claude, or ask Claude and record."""

type OnExpired = Literal["warn", "fail", "record"]
"""What to do with an entry that is too old: replay it with a warning, answer 409, or ask Claude and record."""

IGNORED_PATHS = (
    "$.user",
    "$.metadata",
    "$.safety_identifier",
    "$.prompt_cache_key",
    "$.store",
    "$.stream_options",
    "$.client_metadata",
    "$.input[*].internal_chat_message_metadata_passthrough",
)
"""Fields about the user and about storage. The answer does not depend on them."""

IGNORED_PATTERNS: Mapping[str, str] = {  # pattern -> its replacement
    r"redacted:(?:held|[a-z]+(?:-[a-z]+)*-\d+)": "<secret>",
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b": "<uuid>",
    r"\b(?:chatcmpl|call|toolu|msg|resp|rs|fc|ctc|ctco|tsc|ws|cmp|at|amsg|run|thread|asst|file|req|item|cmpl)"
    r"[-_][A-Za-z0-9]{8,}(?:(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\b": "<id>",
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?": "<time>",
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d(?: GMT| [+-]\d{4})?": "<time>",
    r"\b1[5-9]\d{8}(?:\.\d+|\d{3})?\b": "<time>",
}
"""The parts of texts that differ from run to run."""

MAX_DIFF_LINES = 60

MAX_COMPARED = 200
"""At most this many messages or lines are compared, from the first difference on. Alignment takes quadratic time."""

MAX_LINE = 400
"""A longer line of a diff is cut."""

_encoder = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_WHITE = re.compile(r"\s")
_STEP = 256 * 1024

type Patterns = Sequence[tuple[Pattern, str]]

_PSEUDONYMS: Patterns = tuple((Pattern(pattern), instead) for pattern, instead in list(IGNORED_PATTERNS.items())[:1])


@dataclass(frozen=True, slots=True)
class Rules:
    """How requests are compared.

    ``paths`` and ``patterns`` are left out of the comparison. ``only``: compare only these keys of a JSON body.
    ``in_order``: requests must come in the recorded order, and each entry answers once.

    Entries with the same request answer in the recorded order; those with the request's own ids and times come first.
    With ``reuse``, the last entry answers all further requests. Without it, each entry answers once.
    """

    paths: Sequence[str] = IGNORED_PATHS
    patterns: Mapping[str, str] | None = None  # None: IGNORED_PATTERNS
    reuse: bool = True
    only: Sequence[str] = ()
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Miss:
    """No entry answers. ``nearest`` is the most similar entry (None if there are no entries); ``diff`` shows why."""

    nearest: Entry | None
    diff: str


class Place(Protocol):
    """The place of an entry. Entries are read when needed, so a cassette can be larger than the memory."""

    @property
    def id(self) -> str:
        """The entry's id."""

    def head(self) -> Entry:
        """Read the entry, or only its request."""

    def load(self) -> Entry:
        """Read the entry."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """An entry in memory."""

    entry: Entry

    @property
    def id(self) -> str:
        """The entry's id."""
        return self.entry.id

    def head(self) -> Entry:
        """Return the entry."""
        return self.entry

    def load(self) -> Entry:
        """Return the entry."""
        return self.entry


class Matcher:
    """Finds entries for requests. Raises ValueError for invalid rules."""

    def __init__(self, entries: Iterable[Entry | Place], rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._paths = tuple(parse_path(path) for path in self._rules.paths)
        patterns = IGNORED_PATTERNS if self._rules.patterns is None else self._rules.patterns
        self._patterns = tuple((Pattern(pattern), instead) for pattern, instead in patterns.items())
        self.unreadable: list[str] = []
        """The errors of the entries that cannot be read. These entries are left out."""
        self._places: list[Place] = []
        self._waiting: dict[bytes, deque[tuple[bytes, Place]]] = {}
        self._spent: dict[bytes, Place] = {}
        self._next = 0
        for entry in entries:
            place = InMemory(entry) if isinstance(entry, Entry) else entry
            try:
                request = place.head().request
            except GoneError as error:
                self.unreadable.append(str(error))
                continue
            self._places.append(place)
            asked = request.method, request.path, body_of(request)
            self._waiting.setdefault(self._digest(*asked), deque()).append((self._own_digest(*asked), place))

    def find(self, method: str, path: str, body: Any) -> Entry | Miss:
        """Return the entry that answers, or a Miss. ``path`` includes the query. ``body`` is JSON, or text or bytes."""
        digest = self._digest(method, path, body)
        if self._rules.in_order:
            return self._find_next(digest, method, path, body)
        own = self._own_digest(method, path, body)
        waiting = self._waiting.get(digest, deque())
        mine = next((one for one in waiting if one[0] == own), None)
        if waiting and (mine or not (self._rules.reuse and own in self._spent)):
            chosen = mine or waiting[0]
            waiting.remove(chosen)
            self._spent[digest] = self._spent[chosen[0]] = chosen[1]
            return chosen[1].load()
        if last := self._spent.get(own) or self._spent.get(digest):
            spent = last.load()
            return (
                spent if self._rules.reuse else Miss(spent, f"entry {spent.id} is the same, and has answered already")
            )
        return self._miss(method, path, body)

    def ids(self) -> list[str]:
        """Return the ids of all entries, in order."""
        return [place.id for place in self._places]

    def _find_next(self, digest: bytes, method: str, path: str, body: Any) -> Entry | Miss:
        if self._next == len(self._places):
            return Miss(None, f"all {self._next} entries have answered, in order; {method} {path} is one request more")
        expected = self._places[self._next].load()
        request = expected.request
        if digest == self._digest(request.method, request.path, body_of(request)):
            self._next += 1
            return expected
        told = [f"the next in order is {expected.id}", *self._differs(expected, method, path, body)]
        return Miss(expected, "\n".join(told))

    def _digest(self, method: str, path: str, body: Any) -> bytes:
        return _hash(self.key(method, path, body))

    def _own_digest(self, method: str, path: str, body: Any) -> bytes:
        """Return the digest of a request including its ids and times."""
        return _hash(self._key(method, path, body, _PSEUDONYMS))

    def key(self, method: str, path: str, body: Any) -> str:
        """Return the canonical form of a request. Requests that count as the same have the same form."""
        return self._key(method, path, body, self._patterns)

    def _key(self, method: str, path: str, body: Any, patterns: Patterns) -> str:
        parts = urlsplit(path)
        query = sorted(parse_qsl(parts.query, keep_blank_values=True))
        whole = [method.upper(), parts.path, self._canonical(query, (), patterns), self._compared(body, patterns)]
        return slowly.write(_encoder, whole)

    def _compared(self, body: Any, patterns: Patterns | None = None) -> Any:
        """Return the canonical form of a body: only the parts that are compared."""
        if body in (b"", ""):
            return None
        if self._rules.only and isinstance(body, Mapping):
            body = {key: value for key, value in body.items() if key in self._rules.only}
        return self._canonical(body, (), self._patterns if patterns is None else patterns)

    def canonical(self, value: Any) -> Any:
        """Return the canonical form of a JSON-like value: no ignored parts, sorted keys, normalised white space."""
        return self._canonical(value, (), self._patterns)

    def _canonical(self, value: Any, path: tuple[str, ...], patterns: Patterns) -> Any:
        if isinstance(value, Mapping):
            places = {key: (*path, key) for key in sorted(value)}
            kept = {key: at for key, at in places.items() if not self._is_ignored(at)}
            return {key: self._canonical(value[key], at, patterns) for key, at in kept.items()}
        if isinstance(value, (list, tuple)):
            return [self._canonical(item, (*path, str(place)), patterns) for place, item in enumerate(value)]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        if isinstance(value, str):
            return _text(value, patterns)
        # 1 and 1.0 are the same number.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _is_ignored(self, path: tuple[str, ...]) -> bool:
        return any(path_matches(rule, path) for rule in self._paths)

    def _miss(self, method: str, path: str, body: Any) -> Miss:
        if not self._places:
            return Miss(None, f"nothing is recorded, so nothing answers {method} {path}")
        asked = Counter(_lines(self._compared(body)))

        def likeness(entry: Entry) -> tuple[bool, float]:
            recorded = Counter(_lines(self._compared(body_of(entry.request))))
            both = max((asked | recorded).total(), 1)
            same_place = (entry.request.method, urlsplit(entry.request.path).path) == (method, urlsplit(path).path)
            return same_place, (asked & recorded).total() / both

        # Read one at a time: all entries may not fit into memory.
        nearest = self._places[0].head()
        best = likeness(nearest)
        for place in self._places[1:]:
            entry = place.head()
            if (likely := likeness(entry)) > best:
                nearest, best = entry, likely
        first = f"no recorded request is like {method} {path}; the nearest is {nearest.id} of {nearest.started}"
        return Miss(nearest, "\n".join([first, *self._differs(nearest, method, path, body)]))

    def _differs(self, entry: Entry, method: str, path: str, body: Any) -> list[str]:
        lines = []
        if (entry.request.method, entry.request.path) != (method, path):
            lines.append(f"request: recorded {entry.request.method} {entry.request.path}, now {method} {path}")
        lines += difference(self._compared(body_of(entry.request)), self._compared(body))
        most = MAX_DIFF_LINES - 1  # and the line above
        if len(lines) > most:
            lines[most:] = [f"… and {len(lines) - most} more lines"]
        return lines


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _text(text: str, patterns: Patterns) -> str:
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
        with contextlib.suppress(ValueError, RecursionError):
            # The arguments of a tool call are JSON in a text. The order of their keys does not matter either.
            text = slowly.write(_encoder, slowly.read(text))
    for pattern, instead in patterns:
        text = pattern.replace(text, instead)
    return _one_space(text)


def _one_space(text: str) -> str:
    """Replace each run of white space with one space. Work in pieces, so that other threads can run meanwhile."""
    words, at = list[str](), 0
    while at < len(text):
        end = _WHITE.search(text, at + _STEP)
        until = end.start() if end else len(text)
        words.append(" ".join(text[at:until].split()))
        at = until
    return " ".join(filter(None, words))


class Sides(NamedTuple):
    """The names of the two sides of a diff."""

    old: str
    new: str
    only_old: str
    only_new: str


RECORDED_AND_NOW = Sides("recorded", "now", "only in the recording", "not in the recording")
A_AND_B = Sides("A", "B", "only in A", "only in B")


def difference(old: Any, new: Any, sides: Sides = RECORDED_AND_NOW) -> list[str]:
    """Return a readable diff of two canonical bodies: first the system prompt, then messages, tools and the rest."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return _changed("body", old, new, sides)
    old_system, old_messages = _conversation(old)
    new_system, new_messages = _conversation(new)
    lines = _changed("system prompt", old_system, new_system, sides)
    lines += _messages(old_messages, new_messages, sides)
    lines += _tools(_by_name(old), _by_name(new), sides)
    shown = {"messages", "input", "instructions", "tools", "functions"}
    for name in sorted((old.keys() | new.keys()) - shown):
        lines += _changed(name, old.get(name), new.get(name), sides)
    return lines


def _conversation(body: Mapping[str, Any]) -> tuple[str | None, list[Any]]:
    """Return the system prompt and the other messages, for Chat Completions and Responses."""
    messages = body.get("messages", body.get("input", []))
    messages = messages if isinstance(messages, list) else [{"role": "user", "content": messages}]
    is_system = [isinstance(m, dict) and m.get("role") in ("system", "developer") for m in messages]
    prompts = [_shown(m.get("content")) for m, system in zip(messages, is_system, strict=True) if system]
    if body.get("instructions") is not None:
        prompts.insert(0, _shown(body["instructions"]))
    return "\n".join(prompts) or None, [m for m, system in zip(messages, is_system, strict=True) if not system]


def _messages(old: list[Any], new: list[Any], sides: Sides) -> list[str]:
    """Return a diff of two lists of messages. The lists are aligned, so an inserted message shows as one difference."""
    lines: list[str] = []
    before_all, after_all = [_shown(m) for m in old], [_shown(m) for m in new]
    first, last = _common_ends(before_all, after_all)
    old, new = old[first : len(old) - last][:MAX_COMPARED], new[first : len(new) - last][:MAX_COMPARED]
    ends = slice(first, first + MAX_COMPARED)
    matcher = difflib.SequenceMatcher(
        None, before_all[: len(before_all) - last][ends], after_all[: len(after_all) - last][ends], autojunk=False
    )
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            continue
        for place in range(max(b - a, d - c)):
            before = old[a + place] if a + place < b else None
            after = new[c + place] if c + place < d else None
            number = first + (c if after is not None else a) + place + 1
            lines += _changed(f"message {number} ({_role(after or before)})", before, after, sides)
    return lines


def _role(message: Any) -> str:
    return str(message.get("role", message.get("type", "?"))) if isinstance(message, dict) else "?"


def _by_name(body: Mapping[str, Any]) -> dict[str, Any]:
    return {str(tool_name(tool)): tool for tool in tools_of(body)}


def _tools(old: Mapping[str, Any], new: Mapping[str, Any], sides: Sides) -> list[str]:
    return [
        line
        for name in sorted(old.keys() | new.keys())
        for line in _changed(f"tool {name}", old.get(name), new.get(name), sides)
    ]


def _changed(what: str, old: Any, new: Any, sides: Sides) -> list[str]:
    """Return the lines that show a change. Return no lines if the values are equal."""
    if old == new:
        return []
    if old is None:
        return [f"{what}: {sides.only_new}:", *(f"  + {_cut(line)}" for line in _lines(new))]
    if new is None:
        return [f"{what}: {sides.only_old}:", *(f"  - {_cut(line)}" for line in _lines(old))]
    before, after = _lines(old), _lines(new)
    if len(before) == len(after) == 1 and len(before[0]) + len(after[0]) < 80:
        return [f"{what}: {sides.old} {before[0]}, {sides.new} {after[0]}"]
    first, last = _common_ends(before, after)
    first, last = max(0, first - 1), max(0, last - 1)  # one line around what differs
    before, after = before[first : len(before) - last][:MAX_COMPARED], after[first : len(after) - last][:MAX_COMPARED]
    diff = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    return [f"{what}:", *(f"  {line[:1]} {_cut(line[1:])}" for line in diff if not line.startswith("@@"))]


def _common_ends(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """Return the number of equal items at the beginning, and the number of equal items at the end."""
    most = min(len(one), len(other))
    first = next((place for place in range(most) if one[place] != other[place]), most)
    last = next((place for place in range(most - first) if one[-1 - place] != other[-1 - place]), most - first)
    return first, last


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}… ({len(line)} characters)"


def _lines(value: Any) -> list[str]:
    """Write a value as lines for a diff. JSON is indented. Texts have one sentence in a line."""
    if isinstance(value, str):
        return _sentences(value, ".!?:;").split("\n")
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    return _sentences(text, ".!?").split("\n")


def _sentences(text: str, ends: str) -> str:
    for end in ends:
        text = text.replace(f"{end} ", f"{end}\n")
    return text


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def body_of(request: Request) -> Any:
    """Return a request's body for the comparison: its JSON value, or its bytes if it is not JSON, or None if empty."""
    return request.json if request.json is not None else request.body or None
