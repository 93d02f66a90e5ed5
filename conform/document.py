"""Compares JSON with the facts of OpenAI's document, and finds the shape (the schema) of each object.

``docs/make_document_facts.py`` makes the table of facts. It also explains how the table writes types.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from conform.exchange import kind_of, short

FACTS = Path(__file__).with_name("facts")
"""The folder with the tables."""

MISSING, KIND, VALUE, EXTRA = "missing", "kind", "value", "extra"


@dataclass(frozen=True)
class Difference:
    """A place that differs from the document: ``key`` in an object of ``shape``. ``how`` is one of the words above."""

    how: str
    place: str
    shape: str
    key: str
    came: Any
    wanted: str


@dataclass(frozen=True)
class Walk:
    """The result of a walk through a value: its objects, each with its place and shape, and the differences."""

    objects: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


class Document:
    """The table of facts."""

    def __init__(self, table: dict[str, Any]) -> None:
        self._types = table["types"]
        self._shapes = table["shapes"]
        self.commit = table["commit"]
        self.date = table["date"]
        self.title = f"OpenAI's document {table['version']} of {self.date}"

    def walk(self, root: str, value: Any, place: str = "$") -> Walk:
        """Compare a value with one of the document's schemas."""
        walk = Walk()
        self._walk(walk, self._types[root], value, place, root, "")
        return walk

    def keys(self, shape: str) -> frozenset[str]:
        """Return the keys that a shape has in the document."""
        return frozenset(self._shapes.get(shape, {"keys": ()})["keys"])

    def _walk(self, walk: Walk, type: Any, value: Any, place: str, shape: str, key: str) -> None:
        """Walk through a value. It is the value of ``key`` in an object of ``shape``."""
        match type:
            case {"any of": types}:
                self._walk_one_of(walk, types, value, place, shape, key)
            case {"list": inner} if isinstance(value, list):
                for n, one in enumerate(value):
                    self._walk(walk, inner, one, f"{place}[{n}]", shape, key)
            case {"enum": values} if isinstance(value, str):
                if value not in values:
                    walk.differences.append(Difference(VALUE, place, shape, key, value, f"one of {', '.join(values)}"))
            case str() if type.startswith("@") and isinstance(value, dict):
                self._walk_object(walk, type[1:], value, place)
            case _ if not _fits(type, value):
                walk.differences.append(Difference(KIND, place, shape, key, value, _name(type)))

    def _walk_object(self, walk: Walk, shape: str, value: dict[str, Any], place: str) -> None:
        walk.objects.append((place, shape, value))
        facts = self._shapes[shape]
        for key in facts["required"]:
            if key not in value:
                walk.differences.append(Difference(MISSING, place, shape, key, None, _name(facts["keys"][key])))
        for key, one in value.items():
            if key in facts["keys"]:
                self._walk(walk, facts["keys"][key], one, f"{place}.{key}", shape, key)
            else:
                walk.differences.append(Difference(EXTRA, f"{place}.{key}", shape, key, one, "no such key"))

    def _walk_one_of(self, walk: Walk, types: list[Any], value: Any, place: str, shape: str, key: str) -> None:
        """Walk with the alternative that the value's constants, such as ``type``, allow.

        If several are possible, use the one with the fewest differences.
        """
        fitting = [one for one in types if _fits(one, value)]
        if not fitting:
            wanted = " or ".join(_name(one) for one in types)
            walk.differences.append(Difference(KIND, place, shape, key, value, wanted))
            return
        if isinstance(value, dict) and not (fitting := [one for one in fitting if self._may_be(one, value)]):
            told = {name: value[name] for name in ("type", "object", "role") if name in value}
            wanted = f"one of {', '.join(sorted(self._tags(types)))}"
            walk.differences.append(Difference(VALUE, place, shape, key, told, wanted))
            return
        walks = []
        for one in fitting:
            walks.append(Walk())
            self._walk(walks[-1], one, value, place, shape, key)
        best = min(walks, key=lambda one: sum(1 for d in one.differences if d.how != EXTRA))
        walk.objects.extend(best.objects)
        walk.differences.extend(best.differences)

    def _may_be(self, type: Any, value: dict[str, Any]) -> bool:
        """Return whether the value has the same constants as a shape, where it has them."""
        return all(value.get(key, constant) == constant for key, constant in self._constants(type))

    def _constants(self, type: Any) -> Iterator[tuple[str, str]]:
        if isinstance(type, str) and type.startswith("@"):
            for key, one in self._shapes[type[1:]]["keys"].items():
                if isinstance(one, dict) and len(one.get("enum", ())) == 1:
                    yield key, one["enum"][0]

    def _tags(self, types: list[Any]) -> set[str]:
        return {constant for one in types for key, constant in self._constants(one) if key in ("type", "object")}


@cache
def document() -> Document:
    """Return the facts of this version of the program."""
    return Document(json.loads((FACTS / "document.json").read_text(encoding="utf-8")))


def _fits(type: Any, value: Any) -> bool:
    """Return whether a value has the JSON type of a type. What is inside the value is not compared."""
    match type:
        case "any":
            return True
        case "number":
            return kind_of(value) in ("integer", "number")
        case {"list": _}:
            return isinstance(value, list)
        case {"enum": values}:
            return isinstance(value, str) if isinstance(values[0], str) else value in list(values)
        case {"any of": types}:
            return any(_fits(one, value) for one in types)
        case str() if type.startswith("@"):
            return isinstance(value, dict)
        case _:
            return kind_of(value) == str(type)


def _name(type: Any) -> str:
    """Return a type in words."""
    match type:
        case {"list": inner}:
            return f"list of {_name(inner)}"
        case {"enum": values}:
            return " or ".join(short(value) for value in values)
        case {"any of": types}:
            return " or ".join(_name(one) for one in types)
        case str():
            return f"object ({type[1:]})" if type.startswith("@") else type
        case _:
            return str(type)
