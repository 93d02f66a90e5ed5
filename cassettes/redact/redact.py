"""Redaction: find secrets and replace them before anything is written to a cassette.

Each secret is replaced by its pseudonym (:mod:`cassettes.redact.pseudonyms`). Redaction happens in memory. All text
passes through this module before it is written. :mod:`cassettes.redact.scrub` does the same for text that arrives in
pieces; it uses :meth:`Redactor.scan`.

These are secrets:

- the value of a header, query parameter, form field or JSON key whose name is that of a credential;
- text in the format of a credential (``sk-…``, ``Bearer …``, ``AKIA…``, ``ghp_…``, JWTs, PEM private keys, …);
- everything that matches the user's own rules: header names, JSON paths, regular expressions, values;
- every later occurrence of a known secret of eight characters or more, also percent-encoded, escaped as JSON or inside
  base64. A shorter secret is replaced only where it was found, because it may be a common word such as ``true``.

In doubt, text is redacted. Losing a word of prose that resembles a key is better than storing a key.
"""

import base64
import binascii
import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import re2

from cassettes import large_json as slowly
from cassettes.redact.finder import look_through
from cassettes.redact.patterns import Pattern
from cassettes.redact.pseudonyms import PSEUDONYM, Names
from cassettes.redact.shapes import OPEN_HEADERS, SECRET_HEADERS, SECRET_QUERY, VALUE_KEYS, kind_of_name

MIN_KNOWN = 8
"""The minimum length, in characters, of a secret that is searched for everywhere."""

MAX_KNOWN_LENGTH = 8192
"""A longer secret is replaced only where it was found."""

MIN_HELD = 4
"""A text is held back only if it ends with at least this many first characters of a secret.

So few characters (``sk-p``) reveal nothing about the secret.
"""

MAX_KNOWN = 64
"""How many secrets are searched for everywhere: the most recent ones. Each costs time on every chunk."""

MAX_DEPTH = 100
"""JSON that is nested more deeply is redacted as text."""

MAX_LANE_NAME = 64
"""How many characters of a JSON key become part of a lane's name."""

LARGE = 64 * 1024
"""From this length in characters on, one search first checks whether the text has the start of any known secret."""

# The authentication schemes that precede the secret in a header: https://www.iana.org/assignments/http-authschemes
_SCHEMES = frozenset({"bearer", "basic", "digest", "negotiate", "token", "apikey", "aws4-hmac-sha256"})

type Lanes = Callable[[str, Any, Any, str], None]
"""Called with (lane, container, key, text) for each string that may be a piece of a longer text."""

# Keys whose strings are complete. They are never pieces of a text that continues in the next event.
_WHOLE = frozenset(
    {
        "id",
        "object",
        "model",
        "type",
        "role",
        "name",
        "status",
        "call_id",
        "item_id",
        "response_id",
        "tool_use_id",
        "parent_tool_use_id",
        "uuid",
        "session_id",
        "request_id",
        "system_fingerprint",
        "service_tier",
        "finish_reason",
        "stop_reason",
        "event",
        "subtype",
        "signature",
        "obfuscation",
    }
)
_MARKS = ("type", "index", "output_index", "content_index", "summary_index", "item_id")


type _Found = tuple[int, int, str, str]
"""Start, end, pseudonym (empty if the secret is new) and kind (empty if it is known)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a text, and the name that replaces it."""

    start: int
    end: int
    name: str


def parse_path(path: str) -> tuple[str, ...]:
    """Read a JSON path: ``$.a.b[0].c``, with ``*`` for any key or index and ``**`` for any number of steps.

    Raises ValueError if it is not valid.
    """
    steps = re.findall(r"\.\.|\*\*|\*|[^.\[\]\"'*]+", re.sub(r"^\$", "", path))
    if not path.startswith("$") or not steps:
        raise ValueError(f"{path!r} is not a JSON path like $.metadata.user or $.messages[*].name")
    return tuple("**" if step == ".." else step for step in steps)


def path_matches(rule: Sequence[str], path: Sequence[str]) -> bool:
    """Return whether a rule from :func:`parse_path` matches a path (keys, and list indexes as digits).

    All possible matches are followed in parallel, so that ``**`` costs no more than any other step.
    """
    places = _skipping(rule, {0})
    for step in path:
        places = _skipping(
            rule,
            {
                place if rule[place] == "**" else place + 1
                for place in places
                if place < len(rule) and rule[place] in ("**", "*", step)
            },
        )
        if not places:
            return False
    return len(rule) in places


def _skipping(rule: Sequence[str], places: set[int]) -> set[int]:
    """Add the positions that are reached by skipping ``**``, which also matches zero steps."""
    return places | {
        place + count
        for place in places
        for count in range(1, len(rule) - place + 1)
        if all(step == "**" for step in rule[place : place + count])
    }


class Redactor:
    """Finds secrets and replaces them. Each cassette has its own redactor, which remembers the secrets it has seen.

    ``headers``: more header names whose values are secret. ``json_paths``: more secret values in bodies, events and
    chunks (:func:`parse_path`). ``patterns``: more regular expressions. The secret is group 1 if the pattern has one,
    else the whole match; in streams, only matches within one word are found. ``secrets``: values that are secret
    everywhere. The redactor is thread-safe. Raises ValueError if a path or a pattern is not valid.
    """

    def __init__(
        self,
        *,
        headers: Iterable[str] = (),
        json_paths: Iterable[str] = (),
        patterns: Iterable[str] = (),
        secrets: Iterable[str] = (),
        names: Names | None = None,
    ) -> None:
        self._headers = {**SECRET_HEADERS, **{name.lower(): "secret" for name in headers}}
        self._paths = tuple(parse_path(path) for path in json_paths)
        self._patterns = tuple(Pattern(pattern) for pattern in patterns)
        self._configured = tuple(secrets)
        self._names = names or Names()
        self._known: OrderedDict[str, tuple[str, set[str]]] = OrderedDict()  # secret -> its name, its spellings
        self._lock = threading.Lock()
        self._literals = _Literals({})
        self._clean: set[str] = set()
        self.version = 0
        """Increases whenever a new secret is learned."""
        for secret in self._configured:
            self.learn(secret, "secret")

    def named_by(self, names: Names) -> "Redactor":
        """Return a redactor with the same rules and these names. It knows only the configured secrets."""
        other = object.__new__(Redactor)
        other.__dict__.update(self.__dict__)
        other._names, other._known, other._literals, other._clean = names, OrderedDict(), _Literals({}), set()
        other._lock, other.version = threading.Lock(), 0
        for secret in other._configured:
            other.learn(secret, "secret")
        return other

    # Names of secrets

    def learn(self, secret: str, kind: str) -> str:
        """Return the pseudonym of a secret. If the secret is long enough, search for it everywhere from now on."""
        if not secret or PSEUDONYM.fullmatch(secret):
            return secret
        with self._lock:
            name = self._names.name(secret, kind)
            if secret in self._known:
                self._known.move_to_end(secret)
            elif MIN_KNOWN <= len(secret) <= MAX_KNOWN_LENGTH:
                spellings = _spellings(secret)
                self._known[secret] = name, spellings
                # Other threads may be reading the old object, so it is replaced instead of changed.
                self._literals = self._literals.changed(name, spellings, self._forget_the_oldest())
                self._clean.clear()
                self.version += 1
        return name

    def _forget_the_oldest(self) -> list[tuple[str, set[str]]]:
        """Remove the oldest secrets beyond the limit. Return their names and spellings."""
        forgotten = []
        while len(self._known) > MAX_KNOWN + len(self._configured):
            oldest = next(secret for secret in self._known if secret not in self._configured)
            forgotten.append(self._known.pop(oldest))
        return forgotten

    # Requests and responses

    def headers(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Redact headers. A scheme before the secret (``Bearer``) is left in place."""
        return [(name, self._header(name.lower(), value)) for name, value in pairs]

    def _header(self, name: str, value: str) -> str:
        kind = self._headers.get(name) or kind_of_name(name)
        if kind is None:
            return self.text(value)
        if kind == "cookie":
            return self._cookies(value)
        scheme, space, rest = value.partition(" ")
        if space and scheme.lower() in _SCHEMES:
            if scheme.lower() == "basic":
                self._learn_basic(rest)
            return f"{scheme} {self.learn(rest.strip(), kind)}"
        return self.learn(value.strip(), kind)

    def _cookies(self, value: str) -> str:
        first, *rest = value.split(";")
        cookies = [first, *rest]
        for cookie in cookies:
            secret = cookie.partition("=")[2].strip().strip('"')
            if len(secret) >= MIN_KNOWN and " " not in secret and "/" not in secret[:2]:
                self.learn(secret, "cookie")
        return self.learn(value.strip(), "cookie")

    def _learn_basic(self, encoded: str) -> None:
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return
        self.learn(password if colon and password else user, "password")

    def target(self, target: str) -> str:
        """Redact a request's path and query. The rest keeps its exact spelling."""
        path, mark, query = target.partition("?")
        return self.text(path) + mark + self.form(query, extra=SECRET_QUERY)

    def form(self, text: str, extra: frozenset[str] = frozenset()) -> str:
        """Redact a query or a body of ``application/x-www-form-urlencoded``."""
        done = []
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            plain = unquote_plus(name)
            kind = kind_of_name(plain) or ("key" if plain.lower().replace("-", "_") in extra else None)
            done.append(f"{name}={self.learn(unquote(value), kind)}" if kind and equals and value else self.text(pair))
        return "&".join(done)

    # Text

    def text(self, text: str) -> str:
        """Redact a complete text. Base64 is decoded and redacted too."""
        if len(text) < MIN_HELD or text in self._clean:
            return text
        result = text
        encoded = base64_in(text)
        if encoded:
            head, body = encoded
            result = head + self._base64(body)
        spans, _ = self.scan(result, 0, final=True, is_base64=encoded is not None)
        result = replace(result, spans) if spans else result
        if result == text and len(text) <= 200:
            if len(self._clean) >= 4096:
                self._clean.clear()
            self._clean.add(text)
        return result

    def data(self, data: bytes) -> bytes:
        """Redact arbitrary bytes. Each byte is treated as one character."""
        text = data.decode("latin-1")
        spans, _ = self.scan(text, 0, final=True)
        return replace(text, spans).encode("latin-1") if spans else data

    def _base64(self, encoded: str) -> str:
        try:
            data = slowly.from_base64(encoded.encode("ascii"))
        except (binascii.Error, ValueError):
            return encoded
        clean = self.data(data)
        return encoded if clean == data else base64.b64encode(clean).decode("ascii")

    def scan(self, text: str, start: int, *, final: bool, is_base64: bool = False) -> tuple[list[Span], int]:
        """Find the secrets in ``text`` from ``start`` on. The text before ``start`` is only context.

        Return the spans, sorted and without overlap, and the offset at which the undecided end of the text begins. This
        end may become a secret together with the text that follows. ``final``: no text follows. ``is_base64``: the
        text is base64 that was already redacted; do not decode it again. The time is linear in the length of the text.
        """
        literals, end = self._literals, len(text)
        look = look_through(text, start, final=final, into_base64=not is_base64)
        found = literals.find(text, start)
        if look.found:
            found += [(first, last, "", kind) for first, last, kind in look.found]
        for pattern in self._patterns:
            found += [(first, last, "", "secret") for first, last in pattern.spans(text, start)]
        if final:
            return self._merge(text, found, end), end
        held = min(look.held, literals.begun(text, start))
        if self._patterns:
            held = min(held, max(start, end - 256, 1 + max(map(text.rfind, " \n\t"))))
        if not found:
            return [], held
        return self._merge(text, found, held), self._cut(found, held)

    @staticmethod
    def _cut(found: list[_Found], held: int) -> int:
        """Return where the held end begins. Move it to the start of a secret that it would split."""
        for start, end, _, _ in sorted(found, reverse=True):
            if start < held < end:
                held = start
        return held

    def _merge(self, text: str, found: list[_Found], held: int) -> list[Span]:
        """Merge overlapping matches into spans, drop those in the held end, and name each span."""
        if not found:
            return []
        held = self._cut(found, held)
        groups: list[list[_Found]] = []
        until = 0
        for item in sorted(found, key=lambda item: (item[0], -item[1])):
            if item[0] >= held or item[0] == item[1]:
                continue
            if groups and item[0] < until:
                groups[-1].append(item)
            else:
                groups.append([item])
            until = max(until, item[1])
        spans = []
        for group in groups:
            start, end = group[0][0], max(item[1] for item in group)
            if PSEUDONYM.fullmatch(text, start, end):
                continue
            # Use the known name if the known secret fills the whole span. Else the span is a new secret.
            known = next((name for a, b, name, _ in group if name and (a, b) == (start, end)), None)
            kind = next((kind for *_, kind in group if kind), "secret")
            spans.append(Span(start, end, known or self.learn(text[start:end], kind)))
        return spans

    # JSON

    def document(self, value: Any, lanes: Lanes | None = None) -> Any:
        """Return a copy of a JSON-like value without its secrets.

        Mappings become dicts and sequences become lists. Values that JSON does not support become their ``str``. If
        ``lanes`` is given, it is called with the strings that may be pieces of a longer text; these are copied as is.
        """
        return self._walk(value, (), "", None, lanes)

    def _walk(self, value: Any, path: tuple[str, ...], lane: str, kind: str | None, lanes: Lanes | None) -> Any:
        if isinstance(value, str):
            return self._leaf(value, path, kind)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            secret = kind or ("secret" if self._is_named(path) else None)
            if secret:
                return self.learn(str(value), secret)
            return value if math.isfinite(value) else str(value)
        if len(path) >= MAX_DEPTH:
            return self.text(_flat(value))
        if type(value) is dict or isinstance(value, Mapping):
            return self._mapping(value, path, lane, kind, lanes)
        if isinstance(value, (list, tuple)):
            copy: list[Any] = [None] * len(value)
            plain = (int, bool, type(None)) if kind is None and not self._paths else ()
            for place, item in enumerate(value):
                if type(item) in plain:
                    copy[place] = item
                    continue
                self._put(copy, place, item, (*path, str(place)), lane and f"{lane}[]", kind, lanes)
            return copy
        return self._leaf(str(value), path, kind)

    def _mapping(
        self, value: Mapping[Any, Any], path: tuple[str, ...], lane: str, kind: str | None, lanes: Lanes | None
    ) -> dict[str, Any]:
        if lanes is not None:
            for mark in _MARKS:
                if mark in value:
                    lane = f"{lane}({str(value[mark])[:MAX_LANE_NAME]})"
        copy: dict[str, Any] = {}
        are_headers = _are_headers(value, path)
        in_logprobs = "logprobs" in path
        for key, item in value.items():
            name = key if isinstance(key, str) else str(key)
            below = None if in_logprobs else kind_of_name(name)
            if below == "token" and name in ("token", "tokens") and isinstance(item, Mapping):
                below = None
            if are_headers:
                below = self._kind_of_header(name.lower(), below)
            if below is None and kind is not None and name in VALUE_KEYS:
                below = kind
            shown = name if name in self._clean else self.text(name)
            # The fast path for most events: the text of a lane, and values that cannot be secret.
            if below is None and not self._paths:
                of = type(item)
                if of is int or of is bool or item is None:
                    copy[shown] = item
                    continue
                if of is str:
                    if lanes is None or name in _WHOLE:
                        copy[shown] = item if item in self._clean else self.text(item)
                    else:
                        copy[shown] = item
                        if item:
                            lanes(f"{lane}.{name[:MAX_LANE_NAME]}", copy, shown, item)
                    continue
            under = "" if lanes is None else f"{lane}.{name[:MAX_LANE_NAME]}"
            self._put(copy, shown, item, (*path, name), under, below, lanes)
        return copy

    def _kind_of_header(self, name: str, known: str | None) -> str | None:
        """Return the kind of a header for another server. Every header is secret unless it is known to be open."""
        return self._headers.get(name) or known or (None if name in OPEN_HEADERS else "secret")

    def _put(
        self, copy: Any, key: Any, item: Any, path: tuple[str, ...], lane: str, kind: str | None, lanes: Lanes | None
    ) -> None:
        if lanes is not None and type(item) is str and kind is None and key not in _WHOLE and not self._is_named(path):
            copy[key] = item
            if item:
                lanes(lane, copy, key, item)
        else:
            copy[key] = self._walk(item, path, lane, kind, lanes)

    def _leaf(self, text: str, path: tuple[str, ...], kind: str | None) -> str:
        if kind is None and self._is_named(path):
            kind = "secret"
        if kind is None or not text:
            return self.text(text)
        scheme, space, rest = text.partition(" ")
        if space and scheme.lower() in _SCHEMES:
            return f"{scheme} {self.learn(rest.strip(), kind)}"
        return self.learn(text, kind)

    def _is_named(self, path: tuple[str, ...]) -> bool:
        return bool(self._paths) and any(path_matches(rule, path) for rule in self._paths)


def _are_headers(value: Mapping[Any, Any], path: tuple[str, ...]) -> bool:
    """Return whether these are the HTTP headers for requests to a tool's server."""
    return (
        len(path) > 1
        and path[-1] == "headers"
        and any(step in ("tools", "mcp_servers") for step in path[:-1])
        and "properties" not in path
        and all(isinstance(item, (str, list, tuple)) for item in value.values())
    )


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: a repeated key or NaN is an error. Raises ValueError or RecursionError."""
    return _reader.read(text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_reader = slowly.Reader(object_pairs_hook=_pairs, parse_constant=_constant)


def _flat(value: Any) -> str:
    """Encode JSON of any depth."""
    done: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        match waiting.pop():
            case _Written(text):
                done.append(text)
            case Mapping() as mapping:
                waiting.append(_Written("}"))
                for place, (key, item) in reversed(list(enumerate(mapping.items()))):
                    waiting += [item, _Written(f"{', ' if place else ''}{json.dumps(str(key))}: ")]
                done.append("{")
            case list() | tuple() as items:
                waiting.append(_Written("]"))
                for place, item in reversed(list(enumerate(items))):
                    waiting += [item, _Written(", " if place else "")]
                done.append("[")
            case other:
                done.append(json.dumps(other, default=str))
    return "".join(done)


@dataclass(frozen=True, slots=True)
class _Written:
    text: str


_BASE64 = re2.compile(r"[A-Za-z0-9+/]{20}[A-Za-z0-9+/]*={0,2}")
_DATA_URL = re.compile(r"data:[\w.+/-]{0,100}(?:;[\w=.+-]{0,100}){0,4};base64,")


def base64_in(text: str) -> tuple[str, str] | None:
    """Split a base64 text or a base64 data URL into its prefix and the base64. Return None if it is neither."""
    if len(text) < 24:
        return None
    match = _DATA_URL.match(text) if text.startswith("data:") else None
    at = match.end() if match else 0
    if not text.isascii() or not _BASE64.fullmatch(text.encode("ascii"), at):
        return None
    return text[:at], text[at:]


class _Literals:
    """Spellings of known secrets, and their names. Immutable, so that threads can read it while others learn."""

    __slots__ = ("_by_head", "_longest", "_names", "_pattern")

    def __init__(self, names: Mapping[str, str], by_head: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._names = names
        self._by_head = by_head or {}
        self._longest = max(map(len, names), default=0)
        self._pattern: Any = None

    def changed(
        self, name: str, spellings: Iterable[str], forgotten: Iterable[tuple[str, Iterable[str]]]
    ) -> "_Literals":
        """Return a copy with the spellings of one more secret and without those of the forgotten secrets."""
        names, by_head = dict(self._names), dict(self._by_head)
        for old, theirs in forgotten:
            for literal in theirs:
                if names.get(literal) == old:
                    del names[literal]
                    head = literal[:MIN_HELD]
                    by_head[head] = tuple(other for other in by_head[head] if other != literal)
                    if not by_head[head]:
                        del by_head[head]
        for literal in spellings:
            if literal not in names:
                by_head[literal[:MIN_HELD]] = (*by_head.get(literal[:MIN_HELD], ()), literal)
            names[literal] = name
        return _Literals(names, by_head)

    def find(self, text: str, start: int) -> list[_Found]:
        """Return all occurrences of known secrets from ``start`` on."""
        if not self._names or (len(text) - start >= LARGE and not self._may_have(text, start)):
            return []
        found: list[_Found] = []
        for literal, name in self._names.items():
            at = text.find(literal, start)
            while at >= 0:
                found.append((at, at + len(literal), name, ""))
                at = text.find(literal, at + len(literal))
        return found

    def _may_have(self, text: str, start: int) -> bool:
        if self._pattern is None:
            heads = {literal[:MIN_KNOWN].encode("latin-1", "replace") for literal in self._names}
            options = re2.Options()
            options.encoding = re2.Options.Encoding.LATIN1
            self._pattern = re2.compile(b"|".join(map(re2.escape, sorted(heads))), options)
        return self._pattern.search(text.encode("latin-1", "replace"), start) is not None

    def begun(self, text: str, start: int) -> int:
        """Return the offset of the longest end of the text that is the start of a known secret."""
        earliest = len(text)
        since = max(start, earliest - self._longest)
        for head, literals in self._by_head.items():
            at = text.find(head, since)
            while 0 <= at < earliest:
                rest = text[at:]
                if any(literal.startswith(rest) for literal in literals):
                    earliest = at
                    break
                at = text.find(head, at + 1)
        return earliest


def replace(text: str, spans: Iterable[Span]) -> str:
    """Replace each span with its name."""
    done, at = [], 0
    for span in spans:
        done += [text[at : span.start], span.name]
        at = span.end
    return "".join([*done, text[at:]])


def _spellings(secret: str) -> set[str]:
    """Return all spellings of a secret: plain, URL-encoded, JSON-escaped and in base64, also as UTF-8 bytes."""
    plain = {secret, quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    plain.add(quote(secret, errors="replace"))
    plain |= {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), spelt) for spelt in plain}
    for _ in range(2):  # twice, because the arguments of a tool call are JSON within JSON
        plain |= {json.dumps(spelt, ensure_ascii=ascii_)[1:-1] for spelt in plain for ascii_ in (True, False)}
    plain |= {spelt.replace("/", "\\/") for spelt in plain}
    raw = secret.encode("utf-8", "replace")
    if len(raw) >= 12:
        # The base64 of a secret depends on its offset modulo 3. Its edges depend on the neighbouring bytes.
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + raw).decode("ascii").rstrip("=")
            core = encoded[-(-before * 4 // 3) : len(encoded) - 1]
            plain |= {core, core.replace("+", "-").replace("/", "_")}
    return plain | {spelt.encode("utf-8", "replace").decode("latin-1") for spelt in plain if not spelt.isascii()}
