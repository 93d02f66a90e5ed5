"""JSON paths of the settings: places whose values are secret, or that may differ in a replay.

This is a part of RFC 9535 (https://www.rfc-editor.org/rfc/rfc9535), and ``**``. What is not in this part is an error
when the settings are read. A rule that is accepted and never matches would let a person believe that a secret is
hidden.

The matcher sees each place of each body, so it works on paths and not on documents, as RFC 9535's libraries do.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Wild(Enum):
    """The steps that stand for more than one name."""

    ONE = "*"
    """Any key or index."""
    MANY = "**"
    """Any number of steps."""


type Step = str | Wild

SUPPORTED: Final = (
    "Supported are: $.name, $['any name'], $[0], $.* and $[*] for any key or index, and $..name or $.**.name for any"
    " depth"
)

# One step after the dollar sign. A quoted name may have backslash escapes.
_STEP = re.compile(
    r"""
      \.\.(?=[^.\[\]*]) | \.\.(?=[*\[])     # any depth, before a name, a star or a bracket
    | \.?(?P<many>\*\*)
    | \.?(?P<one>\*)
    | \[\s*(?P<every>\*)\s*\]
    | \[\s*(?P<index>0|[1-9]\d*)\s*\]
    | \[\s*(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*\]
    | \.?(?P<name>[^\s.\[\]"'*?()@:,]+)
    """,
    re.VERBOSE,
)


def parse_path(path: str) -> "JsonPath":
    """Read a JSON path. Raises ValueError, with what is supported, for any that is not understood completely."""
    place, steps = 1, list[Step]()
    while path.startswith("$") and place < len(path):
        match = _STEP.match(path, place)
        step = _step(match) if match is not None and _may_follow(match) else None
        if match is None or step is None:
            raise ValueError(f"{path!r} is not understood from {path[place:]!r} on. {SUPPORTED}.")
        steps.append(step)
        place = match.end()
    if not steps:
        raise ValueError(f"{path!r} is no JSON path like $.metadata.user or $.messages[*].name. {SUPPORTED}.")
    if all(step is Wild.MANY for step in steps):
        raise ValueError(f"{path!r} names every place. {SUPPORTED}.")
    many = next((place for place, step in enumerate(steps) if step is Wild.MANY), len(steps))
    return JsonPath(tuple(steps[:many]), tuple(steps[many:]))


def _may_follow(match: re.Match[str]) -> bool:
    """Whether a step begins with a dot or a bracket. After ``..`` it needs none."""
    return match.group()[0] in ".[" or match.string[: match.start()].endswith("..")


def _step(match: re.Match[str]) -> Step | None:
    """Return a step; None for a quoted name that cannot be read."""
    if match["quoted"] is not None:
        return _unquoted(match["quoted"])
    if match["one"] or match["every"]:
        return Wild.ONE
    name: str | None = match["name"] or match["index"]
    return name if name is not None else Wild.MANY


def _unquoted(quoted: str) -> str | None:
    text = quoted[1:-1]
    if quoted.startswith("'"):
        text = re.sub(r"\\'|\"", lambda found: "'" if found.group() == "\\'" else '\\"', text)
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that was read by :func:`parse_path`. ``before`` are the steps before the first ``**``, ``after`` those
    from it on."""

    before: tuple[Step, ...]
    after: tuple[Step, ...]

    def names(self, path: Sequence[str]) -> bool:
        """Whether this path names a place, or one that the place is inside of.

        ``path`` has the place's keys, and list indexes as digits. This is asked of each value in each body. Most
        places differ in the first step.
        """
        if len(path) < len(self.before):
            return False
        for step, at in zip(self.before, path, strict=False):
            if step != at and step is not Wild.ONE:
                return False
        match self.after:
            case ():
                return True
            case (_, str(name)):
                return name in path[len(self.before) :]
            case _:
                return _names(self.after, path[len(self.before) :])


def _names(rule: Sequence[Step], path: Sequence[str]) -> bool:
    """Follow all possible matches in parallel, so that ``**`` costs no more than any other step."""
    places = _skipping(rule, {0})
    for step in path:
        if len(rule) in places:
            return True
        places = _skipping(
            rule,
            {
                place if rule[place] is Wild.MANY else place + 1
                for place in places
                if place < len(rule) and (rule[place] == step or isinstance(rule[place], Wild))
            },
        )
        if not places:
            return False
    return len(rule) in places


def _skipping(rule: Sequence[Step], places: set[int]) -> set[int]:
    """Add the positions that are reached by skipping ``**``, which also matches zero steps."""
    return places | {
        place + count
        for place in places
        for count in range(1, len(rule) - place + 1)
        if all(step is Wild.MANY for step in rule[place : place + count])
    }
