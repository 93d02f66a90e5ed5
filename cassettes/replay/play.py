"""Sends the bytes of a script at their times."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cassettes.replay.pace import Script


class Exchange(Protocol):
    """The connection to which an answer is sent (:class:`api.http.server.Exchange`)."""

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send a whole answer."""

    async def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Send the head of an answer that comes in pieces."""

    async def send(self, data: bytes) -> None:
        """Send one piece."""

    async def finish(self) -> None:
        """End the answer cleanly."""

    def abort(self) -> None:
        """Cut the connection."""


async def play(
    script: Script,
    exchange: Exchange,
    *,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Send a script to the client. All times count from the start of this call, so delays do not add up.

    ``clock`` returns seconds. None means the clock of the event loop.
    """
    now = clock or asyncio.get_running_loop().time
    began = now()

    async def until(at_ms: float) -> None:
        # Sleep even for 0 s: then other tasks can run while a long answer is sent at once.
        await sleep(max(began + at_ms / 1000 - now(), 0))

    if not script.is_stream and not script.is_cut:
        await until(max(script.head_ms or 0, script.end_ms))
        await exchange.respond(script.status, script.headers, b"".join(step.data for step in script.steps))
        return
    if script.head_ms is not None:
        await until(script.head_ms)
        await exchange.start(script.status, script.headers)
        for step in script.steps:
            await until(step.at_ms)
            if step.data:
                await exchange.send(step.data)
    await until(script.end_ms)
    if script.is_cut:
        exchange.abort()
    else:
        await exchange.finish()
