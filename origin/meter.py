"""What requests have used: an engine around the engine that counts, and the totals of a proxy."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from engine import Engine, Running
from tape.usage import Total, of_messages
from translate.turn import Turn
from translate.usage import MessageUsage


class Meter:
    """Remembers every turn that is run on it, and tells what they have used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns: list[Running] = []

    def status(self) -> dict[str, Any]:
        """Return the state of the engine underneath."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Play a turn on the engine underneath."""
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


class Totals:
    """What all requests have used since the proxy started."""

    def __init__(self) -> None:
        self._requests = 0
        self._total = Total()

    def add(self, messages: Sequence[MessageUsage]) -> None:
        """Add a request, by what Claude told of its messages."""
        self._requests += 1
        self._total = self._total.plus(of_messages(messages))

    def status(self) -> dict[str, Any]:
        """Return the totals for people and monitors.

        ``input_tokens`` includes the cached ones. ``usd`` leaves out ``requests_unpriced``: so many used a model whose
        price is not known. It is None where that is all of them.
        """
        used = self._total
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
