"""Puts unknown keys into requests, and finds out whether the app is told of each."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from translate.errors import OpenAIError
from translate.known_keys import below

type Place = tuple[str, dict[str, Any]]
"""The path of an object in a request, and the object."""

VALUES: tuple[Any, ...] = (True, 0, 1.5, "", "text", [], ["x"], {}, {"type": "ephemeral"}, {"deep": {"er": 1}})


@dataclass(frozen=True, slots=True)
class Told:
    """What becomes of a request: its report, and the text of everything that is sent to Claude or kept for the app."""

    ignored: Sequence[str]
    used: str


def places(value: Any, path: str = "") -> Iterator[Place]:
    """Yield every object in a request, the request itself included."""
    if isinstance(value, dict):
        yield path, value
        for name, inside in value.items():
            yield from places(inside, below(path, name))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from places(inside, f"{path}[{index}]")


def without_a_word(
    requests: Sequence[dict[str, Any]], ask: Callable[[dict[str, Any]], Told], count: int, seed: int
) -> list[str]:
    """Put unknown keys into ``count`` requests. Return the paths of the keys that vanish.

    ``ask`` translates a request. A key is dealt with if the request is refused with a parameter that the key or
    something around it has, if the report names the key or something around it, or if the key is used.
    """
    draw = random.Random(seed)
    vanished: list[str] = []
    for number in range(count):
        request = copy.deepcopy(requests[number % len(requests)])
        found = list(places(request))
        # The request itself is one of the places. There every unknown key is refused, so it is drawn seldom.
        chosen = (
            draw.sample(found[1:], k=min(len(found) - 1, draw.randint(1, 4))) if draw.random() < 0.98 else found[:1]
        )
        added: dict[str, str] = {}
        for path, holder in chosen:
            name = draw.choice(["zz_{}", "cacheControl_{}", "odd key, {}", "é_{}"]).format(draw.randrange(10**9))
            added[name] = below(path, name)
            holder[name] = draw.choice(VALUES)
        try:
            told = ask(request)
        except OpenAIError as error:
            param = (error.param or "").removesuffix("[...]")  # one of the values of a map
            if not any(_covers(param, where) or name in error.message for name, where in added.items()):
                vanished += [f"{list(added.values())}: {error.message}"]
            continue
        vanished += [
            where
            for name, where in added.items()
            if not any(_covers(path, where) for path in told.ignored) and name not in told.used
        ]
    return vanished


def _covers(path: str, where: str) -> bool:
    return bool(path) and (where == path or (where.startswith(path) and where[len(path)] in ".["))
