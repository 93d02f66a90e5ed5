"""Anthropic's cloud, the one thing that is simulated: a rehearsal on a thread of its own, for any test to talk to."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

from rehearsal import Reply
from rehearsal.server import ReceivedRequest, Rehearsal, Script

GUARD_S = 60.0
"""How long anything may take before the test is given up. No test waits for it to pass."""


class Gate:
    """What a reply waits at until the test, on whatever thread, opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self.opened = False

    async def __call__(self) -> None:
        """Wait; the rehearsal calls this."""
        await self._event.wait()

    def open(self) -> None:
        """Let the reply go on."""
        self.opened = True
        self._loop.call_soon_threadsafe(self._event.set)


class Cloud:
    """The simulated API, as a context manager. Its methods may be called from any thread but its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="the cloud")
        self._rehearsal = Rehearsal(delay_s=0)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._rehearsal.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._rehearsal.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """What ANTHROPIC_BASE_URL is set to."""
        return self._rehearsal.base_url

    @property
    def turns(self) -> list[ReceivedRequest]:
        """The requests for an answer since the test began."""
        return self._rehearsal.turns

    @property
    def paths(self) -> list[str]:
        """The method and path of everything that was asked since the test began."""
        return [f"{received.method} {received.path}" for received in self._rehearsal.requests]

    def gate(self) -> Gate:
        """Make a gate."""
        return Gate(self._loop)

    def script(self, *replies: Reply | Script) -> None:
        """Answer the next turns with these."""

        async def script() -> None:
            self._rehearsal.script(*replies)

        self._call(script())

    def reset(self) -> None:
        """Forget everything, and let every answer that is held go on."""

        async def reset() -> None:
            self._rehearsal.release()
            self._rehearsal.reset()

        self._call(reset())

    def wait_for_turns(self, n: int) -> list[ReceivedRequest]:
        """Wait until so many turns were asked for."""
        return self._call(self._rehearsal.wait_for_requests(n))

    def wait_for_sent(self, received: ReceivedRequest, deltas: int) -> None:
        """Wait until so many deltas of an answer were sent."""
        self._call(received.wait_for_sent(deltas))

    def wait_for_disconnect(self, received: ReceivedRequest) -> None:
        """Wait until whoever asked has left before the end of the answer."""
        self._call(received.disconnected.wait())

    def _call[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def guarded() -> T:
            async with asyncio.timeout(GUARD_S):
                return await coroutine

        return asyncio.run_coroutine_threadsafe(guarded(), self._loop).result()
