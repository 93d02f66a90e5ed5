"""Count the usage of requests: an engine that wraps another and counts, and the totals of a proxy."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cassettes.usage import Total, of_messages
from engine import Engine, Running
from translate.prices import price_name
from translate.turn import Turn
from translate.usage import MessageUsage


class Meter:
    """An engine that records every turn that it runs, and returns their usage."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns: list[Running] = []
        self.before_turn: Callable[[Turn, bool], Awaitable[None]] | None = None
        """Called before each turn, with whether it is the request's first. It may raise to prevent the turn."""

    def status(self) -> dict[str, Any]:
        """Return the status of the underlying engine."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Run a turn on the underlying engine."""
        if self.before_turn is not None:
            await self.before_turn(turn, not self._turns)
        async with self._engine.run(turn) as running:
            self._turns.append(running)
            yield running

    async def messages(self) -> list[MessageUsage]:
        """Return what Claude told of each of its messages, in all turns. These must have been left."""
        return await messages_of(self._turns)


async def messages_of(turns: Sequence[Running]) -> list[MessageUsage]:
    """Return what Claude told of each of its messages in these turns, which must have been left."""
    for running in turns:
        # A turn that was left early is interrupted, which takes milliseconds; until then Claude may tell of tokens.
        if not running.complete:
            await running.ended
    return [message for running in turns for message in running.messages]


MOST_NAMES = 1000
"""So many names are told apart. Names are apps' own words; further ones are counted as one, whose name is empty."""


LONGEST_NAME = 100


@dataclass(slots=True)
class NameUse:
    """What the requests for one name have used: ``asked`` by the app, answered by Claude's ``model``."""

    asked: str
    model: str
    requests: int = 0
    total: Total = field(default_factory=Total)


class Totals:
    """What all requests have used since the proxy started. ``total`` is the sum."""

    def __init__(self) -> None:
        self._requests = 0
        self.total = Total()
        self._names: dict[tuple[str, str], NameUse] = {}

    def add(self, messages: Sequence[MessageUsage], asked: str = "") -> None:
        """Add a request, by what Claude told of its messages. ``asked``: the model's name in the app's words."""
        self._requests += 1
        used = of_messages(messages)
        self.total = self.total.plus(used)
        if used.model is None:
            return  # Claude has not begun to answer
        key = asked[:LONGEST_NAME], price_name(used.model)
        if key not in self._names and len(self._names) >= MOST_NAMES:
            key = "", key[1]
        name = self._names.setdefault(key, NameUse(*key))
        name.requests += 1
        name.total = name.total.plus(used)

    def names(self) -> list[NameUse]:
        """Return the same by the names that were asked for, in the order in which they came."""
        return list(self._names.values())

    def status(self) -> dict[str, Any]:
        """Return the totals for people and monitors.

        ``input_tokens`` includes the cached ones. ``usd`` leaves out ``requests_unpriced``: so many used a model whose
        price is not known. It is None where that is all of them.
        """
        used = self.total
        return {
            "requests": self._requests,
            "input_tokens": used.input,
            "cached_tokens": used.cached,
            "cache_write_tokens": used.cache_written,
            "output_tokens": used.output,
            "web_searches": used.web_searches,
            "usd": None if used.known_usd is None else round(used.known_usd, 9),
            "requests_unpriced": used.unpriced,
        }
