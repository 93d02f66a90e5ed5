"""What a request has used: an engine around the engine that counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engine import Engine, Event, Running
from engine.around import Around
from tape.usage import Total
from translate.prices import cost
from translate.turn import Turn

# A turn's end is known within milliseconds; a bill is not held up for longer.
BILL_S = 5.0


class Meter:
    """Counts the tokens and dollars of every turn that is run on it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns: list[_Counted] = []

    def status(self) -> dict[str, Any]:
        """Return the state of the engine underneath."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Play a turn on the engine underneath."""
        async with self._engine.run(turn) as running:
            counted = _Counted(running)
            self._turns.append(counted)
            yield counted

    async def bill(self) -> tuple[int, float | None, bool]:
        """Return (tokens in and out, dollars or None if nobody knows, whether these are an estimate).

        Claude Code tells what a turn cost when it has ended cleanly; otherwise a table of prices does.
        """
        tokens, dollars, is_estimated = 0, 0.0, False
        known = True
        for turn in self._turns:
            tokens += turn.tokens
            exact = await turn.cost_usd()
            usd = cost(turn.model, turn.usage) if exact is None else exact
            is_estimated = is_estimated or exact is None
            known = known and usd is not None
            dollars += usd or 0.0
        return tokens, dollars if known else None, is_estimated


class _Counted(Around):
    def __init__(self, running: Running) -> None:
        super().__init__(running)
        self.usage: dict[str, Any] = {}
        self.model = ""

    @property
    def tokens(self) -> int:
        names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return sum(int(self.usage.get(name) or 0) for name in names)

    async def cost_usd(self) -> float | None:
        if not self.usage:
            return 0.0
        try:
            async with asyncio.timeout(BILL_S):
                return (await self._running.ended).cost_usd
        except TimeoutError:
            return None

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._running:
            match event:
                case {"type": "message_start", "message": message}:
                    self.model = str(message.get("model", ""))
                    self.usage |= message.get("usage") or {}
                case {"type": "message_delta", "usage": usage}:
                    self.usage |= usage or {}
                case _:
                    pass
            yield event


@dataclass(slots=True)
class NameUse:
    """What the requests for one name have used: ``asked`` by the app, answered by Claude's ``model``."""

    asked: str
    model: str
    requests: int
    total: Total


class Totals:
    """What all requests have used since the proxy started."""

    def __init__(self) -> None:
        self.total = Total()
        self._names: dict[tuple[str, str], NameUse] = {}

    def names(self) -> list[NameUse]:
        """Return the same by the names that were asked for, in the order in which they came."""
        return list(self._names.values())
