"""Finds the keys of a request that nothing reads, at every depth. The answer reports them to the app.

A *shape* describes the JSON that the translation reads. The shapes of the two dialects are in
:mod:`translate.chat.known_keys` and :mod:`translate.responses.known_keys`. A key whose value is null is never reported,
because null asks for nothing.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

UNKNOWN = "nothing reads this key here"

BREAKPOINTS = "Claude Code sets the cache breakpoints itself: after the system prompt and after the last message"

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


type Path = tuple["Path", str | int] | None
"""A path: the path of the parent, and a key or an index. It becomes text only if it is reported."""


@dataclass(frozen=True, slots=True)
class Keys:
    """An object. Keys that are not in ``known`` have no effect. Each known key has the shape of its value."""

    known: Mapping[str, "Shape"]
    deep: "tuple[tuple[str, Keys | Each | ByKind | Unused | Only], ...]" = field(init=False)
    """The known keys whose values have a shape, and so must be checked."""

    def __post_init__(self) -> None:
        """Find the keys whose values must be checked. Most values need no check."""
        deep = tuple((name, shape) for name, shape in self.known.items() if shape is not None)
        object.__setattr__(self, "deep", deep)

    def look(self, value: Any, path: Path, found: list["Ignored"]) -> None:
        """Add the paths of what has no effect in ``value``."""
        if not isinstance(value, dict):
            return
        if not value.keys() <= self.known.keys():
            unknown = [name for name, inside in value.items() if name not in self.known and inside is not None]
            found += [Ignored(_written((path, name)), WHY.get(name, UNKNOWN)) for name in unknown]
        for name, shape in self.deep:
            if (inside := value.get(name)) is not None:
                shape.look(inside, (path, name), found)


@dataclass(frozen=True, slots=True)
class Each:
    """A list whose items have this shape."""

    item: "Keys | Each | ByKind | Unused | Only"

    def look(self, value: Any, path: Path, found: list["Ignored"]) -> None:
        """Add the paths of what has no effect in ``value``."""
        if isinstance(value, list):
            for index, inside in enumerate(value):
                if inside is not None:
                    self.item.look(inside, (path, index), found)


@dataclass(frozen=True, slots=True)
class ByKind:
    """An object whose kind decides which keys it has. ``kind`` returns the kind. Other kinds are not checked."""

    kinds: Mapping[str, "Shape"]
    kind: Callable[[Mapping[str, Any]], Any] = lambda value: value.get("type")

    def look(self, value: Any, path: Path, found: list["Ignored"]) -> None:
        """Add the paths of what has no effect in ``value``."""
        if (shape := self.shape(value)) is not None:
            shape.look(value, path, found)

    def shape(self, value: Any) -> "Shape":
        """Return the shape of a value."""
        named = self.kind(value) if isinstance(value, dict) else None
        return self.kinds.get(named) if isinstance(named, str) else None


@dataclass(frozen=True, slots=True)
class Unused:
    """A value without effect. ``unless`` are values that ask for nothing, such as a default."""

    why: str
    unless: tuple[Any, ...] = ()

    def look(self, value: Any, path: Path, found: list["Ignored"]) -> None:
        """Add the path, unless the value asks for nothing."""
        if not any(same(value, fine) for fine in self.unless):
            found.append(Ignored(_written(path), self.why))


@dataclass(frozen=True, slots=True)
class Only:
    """A value that has an effect only if ``used`` says so. Then it has the shape ``inside``."""

    used: Callable[[Any], bool]
    why: str
    inside: "Shape"

    def look(self, value: Any, path: Path, found: list["Ignored"]) -> None:
        """Add the path, or the paths of what has no effect in ``value``."""
        if not self.used(value):
            found.append(Ignored(_written(path), self.why))
        elif self.inside is not None:
            self.inside.look(value, path, found)


type Shape = Keys | Each | ByKind | Unused | Only | None
"""None: the whole value is read, or sent on unchanged. A value whose type is not that of its shape is not checked."""


def keys(*names: str, **inside: Shape) -> Keys:
    """Return the shape of an object. ``names`` are read whole. The values of ``inside`` have these shapes."""
    return Keys({**dict.fromkeys(names), **inside})


def fields_of(kind: type[msgspec.Struct], *names: str, **inside: Shape) -> Keys:
    """Return the shape of an object with the fields of this Struct, and with further names."""
    return Keys({**dict.fromkeys([*kind.__struct_encode_fields__, *names]), **inside})


def ignored_keys(value: Any, shape: Shape, *, skip: Collection[str] = ()) -> list[Ignored]:
    """Return the paths of all keys in ``value`` that have no effect.

    ``skip`` has paths that are already reported. Paths below them are not reported again.
    """
    found: list[Ignored] = []
    if shape is not None:
        shape.look(value, None, found)
    if not found or not skip:
        return found
    told = frozenset(skip)
    return [path for path in found if told.isdisjoint(_above(path))]


def _above(path: str) -> Iterator[str]:
    """Yield a path, and the paths of all objects and lists that contain it."""
    yield path
    for end, character in enumerate(path):
        if character in ".[" and end:
            yield path[:end]


def _written(path: Path) -> str:
    """Return a path as text."""
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    text = ""
    for step in reversed(steps):
        text = f"{text}[{step}]" if isinstance(step, int) else below(text, step)
    return text


def read_paths(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Yield the paths of all keys below ``path`` that are read. Values that are sent on whole are not checked."""
    match shape:
        case Keys(known) if isinstance(value, dict):
            for name, inside in value.items():
                if name in known and inside is not None and not isinstance(known[name], Unused):
                    yield below(path, name)
                    yield from read_paths(inside, known[name], below(path, name))
        case Each(item) if isinstance(value, list):
            for index, inside in enumerate(value):
                yield from read_paths(inside, item, f"{path}[{index}]")
        case ByKind():
            yield from read_paths(value, shape.shape(value), path)
        case Only(used, _, inside) if used(value):
            yield from read_paths(value, inside, path)
        case _:
            pass


def same(value: Any, fine: Any) -> bool:
    """Whether two JSON values are the same. In Python ``True == 1``, but not in JSON."""
    return bool(value == fine) and isinstance(value, bool) == isinstance(fine, bool)


def below(path: str, name: str) -> str:
    """Return the path of a key. A key with characters that paths use is quoted, and cut if it is long.

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
    """Return paths in a short form. Several paths that differ only in their indexes become one without indexes.

    >>> short(["seed", "messages[0].x", "messages[7].x", "messages[7].y"])
    ['seed', 'messages[].x', 'messages[7].y']
    """
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(without_indexes(path), []).append(path)
    return [found[0] if len(found) == 1 else form for form, found in alike.items()]


def report(paths: Iterable[str]) -> str:
    """Return the text of the header that tells an app which parts of its request have no effect.

    It has at most MOST_PATHS paths, and at most MOST_CHARACTERS. It gives the number of further paths.
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
