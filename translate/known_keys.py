"""Which keys of a request are read, at every depth. All other keys are found here, so that the app is told of them.

A *shape* describes the JSON that the translation reads. There is one shape for each dialect:
:mod:`translate.chat.known_keys` and :mod:`translate.responses.known_keys`. Null asks for nothing, so a key whose value
is null is never reported.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

UNKNOWN = "nothing reads this key here"

BREAKPOINTS = "Claude Code sets its own cache breakpoints, and Claude's API takes four of them at most"

WHY: dict[str, str] = {
    "cache_control": BREAKPOINTS,
    "prompt_cache_breakpoint": BREAKPOINTS,
}
"""The reasons for keys that can be anywhere in a request."""

MOST_CHARACTERS = 4000
"""The limit of a report. Node's HTTP client accepts headers of 16 kB in total."""
MOST_PATHS = 100

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,63}")
_INDEX = re.compile(r"\[\d+\]")


class Ignored(str):
    """The path of something in a request that has no effect. ``why`` says why."""

    why: str

    def __new__(cls, path: str, why: str) -> "Ignored":
        """Return the path, with its reason."""
        made = super().__new__(cls, path)
        made.why = why
        return made


@dataclass(frozen=True, slots=True)
class Keys:
    """An object. Keys that are not in ``known`` have no effect. Each known key has the shape of its value."""

    known: Mapping[str, "Shape"]


@dataclass(frozen=True, slots=True)
class Each:
    """A list whose items have this shape."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class ByKind:
    """An object whose kind decides which keys it has. ``kind`` returns the kind. Other kinds are not looked into."""

    kinds: Mapping[str, "Shape"]
    kind: Callable[[Mapping[str, Any]], Any] = lambda value: value.get("type")


@dataclass(frozen=True, slots=True)
class Unused:
    """A value without effect. ``unless`` are values that ask for nothing, such as a default."""

    why: str
    unless: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Only:
    """A value that has an effect only if ``used`` says so. Then it has the shape ``inside``."""

    used: Callable[[Any], bool]
    why: str
    inside: "Shape"


type Shape = Keys | Each | ByKind | Unused | Only | None
"""None: the whole value is read, or passed on as it is. A value of another type than its shape is not looked into."""


def keys(*names: str, **inside: Shape) -> Keys:
    """Return the shape of an object. ``names`` are read whole, the values of ``inside`` have these shapes."""
    return Keys({**dict.fromkeys(names), **inside})


def fields_of(kind: type[msgspec.Struct], *names: str, **inside: Shape) -> Keys:
    """Return the shape of an object that is decoded to this Struct, with further names."""
    return Keys({**dict.fromkeys([*kind.__struct_encode_fields__, *names]), **inside})


def ignored_keys(value: Any, shape: Shape, *, path: str = "", skip: Collection[str] = ()) -> list[Ignored]:
    """Return the paths of all keys in ``value`` that have no effect.

    ``skip`` are paths that are reported already. Nothing below them is reported again.
    """
    found: list[Ignored] = []
    _look(value, shape, path, frozenset(skip), found)
    return found


def _look(value: Any, shape: Shape, path: str, skip: frozenset[str], found: list[Ignored]) -> None:
    if value is None or (path and path in skip):
        return
    match shape:
        case Keys(known) if isinstance(value, dict):
            for name, inside in value.items():
                if name not in known:
                    where = below(path, name)
                    if inside is not None and where not in skip:
                        found.append(Ignored(where, WHY.get(name, UNKNOWN)))
                elif (sub := known[name]) is not None:
                    _look(inside, sub, below(path, name), skip, found)
        case Each(item) if isinstance(value, list):
            for index, inside in enumerate(value):
                _look(inside, item, f"{path}[{index}]", skip, found)
        case ByKind(kinds, kind) if isinstance(value, dict):
            named = kind(value)
            _look(value, kinds.get(named) if isinstance(named, str) else None, path, skip, found)
        case Unused(why, unless):
            if not any(same(value, fine) for fine in unless):
                found.append(Ignored(path, why))
        case Only(used, why, inside):
            if used(value):
                _look(value, inside, path, skip, found)
            else:
                found.append(Ignored(path, why))
        case _:
            pass


def read_paths(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Yield the paths of all keys below ``path`` that are read. Values that are passed on whole are not looked into."""
    match shape:
        case Keys(known) if isinstance(value, dict):
            for name, inside in value.items():
                if name in known and inside is not None and not isinstance(known[name], Unused):
                    yield below(path, name)
                    yield from read_paths(inside, known[name], below(path, name))
        case Each(item) if isinstance(value, list):
            for index, inside in enumerate(value):
                yield from read_paths(inside, item, f"{path}[{index}]")
        case ByKind(kinds, kind) if isinstance(value, dict):
            named = kind(value)
            yield from read_paths(value, kinds.get(named) if isinstance(named, str) else None, path)
        case Only(used, _, inside) if used(value):
            yield from read_paths(value, inside, path)
        case _:
            pass


def same(value: Any, fine: Any) -> bool:
    """Whether two JSON values are the same. In Python ``True == 1``, but not in JSON."""
    return bool(value == fine) and isinstance(value, bool) == isinstance(fine, bool)


def below(path: str, name: str) -> str:
    """Return the path of a key. A key that could be mistaken for a path is quoted, and cut if it is long.

    >>> below("messages[0]", "name"), below("", "n"), below("tools[0]", "a, b")
    ('messages[0].name', 'n', 'tools[0]["a, b"]')
    """
    if _PLAIN.fullmatch(name):
        return f"{path}.{name}" if path else name
    shown = name if len(name) <= 64 else f"{name[:64]}…"
    return f"{path}[{json.dumps(shown)}]"


def without_indexes(path: str) -> str:
    """Return a path without the indexes in it.

    >>> without_indexes("messages[2].content[0].text")
    'messages[].content[].text'
    """
    return _INDEX.sub("[]", path)


def short(paths: Iterable[str]) -> list[str]:
    """Return paths in a short form: several that differ only in their indexes become one without indexes.

    >>> short(["seed", "messages[0].x", "messages[7].x", "messages[7].y"])
    ['seed', 'messages[].x', 'messages[7].y']
    """
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(without_indexes(path), []).append(path)
    return [found[0] if len(found) == 1 else form for form, found in alike.items()]


def report(paths: Iterable[str]) -> str:
    """Return the text that tells an app which parts of its request have no effect, for one header.

    At most MOST_PATHS are named, in at most MOST_CHARACTERS. The rest is counted.
    """
    forms = short(paths)
    named: list[str] = []
    left = MOST_CHARACTERS
    for form in forms[:MOST_PATHS]:
        left -= len(form) + 2
        if left < 0:
            break
        named.append(form)
    more = [f"and {len(forms) - len(named)} more"] if len(forms) > len(named) else []
    return ", ".join([*named, *more])
