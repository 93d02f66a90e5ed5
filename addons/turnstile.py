"""Spreads work that arrives all at once over several rounds of the event loop.

asyncio accepts up to a hundred waiting connections in one round of the loop, and mitmproxy starts to handle each of
them in the same round. Everybody else waits until the round ends.
"""

import asyncio
from collections import deque


class Turnstile:
    """Lets a limited number of callers pass in each round of the event loop, in the order in which they came."""

    def __init__(self, each_round: int) -> None:
        """``each_round``: how many callers pass in one round, at least 1."""
        self._each_round = each_round
        self._passed = 0
        self._is_due = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Return as soon as the caller may pass."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._next_round)
        if self._passed < self._each_round and not self._waiting:
            self._passed += 1
            return
        place = loop.create_future()
        self._waiting.append(place)
        await place

    def _next_round(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._each_round:
            place = self._waiting.popleft()
            # A caller that was cancelled waits no longer.
            if not place.done():
                place.set_result(None)
                self._passed += 1
        self._is_due = bool(self._passed or self._waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._next_round)
