"""Spreads work that arrives all at once over several rounds of the event loop.

asyncio accepts up to a hundred waiting connections in one round of the loop, and mitmproxy starts to handle each of
them in the same round. Everybody else waits until the round ends.
"""

import asyncio
from collections import OrderedDict


class Turnstile:
    """Lets a limited number of callers pass in each round of the event loop, in the order in which they came.

    It holds as many callers as wait: the caller bounds them, and releases those that need not wait any more.
    """

    def __init__(self, each_round: int) -> None:
        """``each_round``: how many callers pass in one round, at least 1."""
        self._each_round = each_round
        self._passed = 0
        self._is_due = False
        self._waiting: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    async def wait(self, name: str) -> None:
        """Return as soon as the caller may pass. ``name`` is the caller's own, for :meth:`release`."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._next_round)
        if self._passed < self._each_round and not self._waiting:
            self._passed += 1
            return
        place = self._waiting[name] = loop.create_future()
        try:
            await place
        finally:
            self._waiting.pop(name, None)

    def release(self, name: str) -> None:
        """Let a caller that waits pass at once. It takes no other caller's turn."""
        if (place := self._waiting.pop(name, None)) is not None and not place.done():
            place.set_result(None)

    def _next_round(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._each_round:
            _, place = self._waiting.popitem(last=False)
            # A caller that was cancelled waits no longer.
            if not place.done():
                place.set_result(None)
                self._passed += 1
        self._is_due = bool(self._passed or self._waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._next_round)
