"""Starts the origin with the proxy, and ends it with the proxy."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from api.access import Access

log = logging.getLogger("understudy")


class Origin(Protocol):
    """A running origin."""

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """The addresses at which it listens."""

    @property
    def access(self) -> Access | None:
        """The API keys. None if no key is required."""

    def refuse_new(self) -> Collection[asyncio.Task[Any]]:
        """Refuse new requests from now on. Returns the tasks of those that are still being answered."""


class ServeOrigin:
    """Starts the origin when the proxy runs. When the proxy ends, it ends the origin and all Claude processes.

    ``origin`` is entered once. Each request to it must have the ``token``. :meth:`drain` waits for up to ``drain_s``
    seconds. ``before_done`` is awaited before the origin ends. If the start raises one of ``expected``, one line is
    logged. With ``in_the_background``, :meth:`running` does not wait for the start; :meth:`addresses` and
    :meth:`access` do.
    """

    def __init__(
        self,
        origin: AbstractAsyncContextManager[Origin],
        *,
        token: str,
        drain_s: float,
        before_done: Callable[[], Awaitable[None]],
        expected: tuple[type[Exception], ...] = (),
        in_the_background: bool = False,
    ) -> None:
        self.token = token
        self._origin = origin
        self._drain_s = drain_s
        self._before_done = before_done
        self._expected = expected
        self._in_the_background = in_the_background
        self._stack = contextlib.AsyncExitStack()
        self._started: asyncio.Future[Origin] | None = None
        self._starting: asyncio.Task[None] | None = None

    async def addresses(self) -> Sequence[tuple[str, int]]:
        """Wait until the origin listens and return its addresses. Raises the exception with which the start failed."""
        return (await asyncio.shield(self._future())).addresses

    async def access(self) -> Access | None:
        """Wait until the origin listens and return the API keys. Return None if no key is required."""
        return (await asyncio.shield(self._future())).access

    async def running(self) -> None:
        """Start the origin.

        For a script, mitmproxy calls this before some of its own addons are ready, and it already listens. So a script
        starts the origin in the background.
        """
        if self._in_the_background:
            self._starting = asyncio.create_task(self._start(), name="start the origin")
        else:
            await self._start()

    async def done(self) -> None:
        """End the origin."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        await self._before_done()
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuse new requests, and give running requests some time to end."""
        if self._started is None or not self._started.done() or self._started.exception() is not None:
            return
        if running := self._started.result().refuse_new():
            log.info("%d answers are still running; they have %g s", len(running), self._drain_s)
            await asyncio.wait(running, timeout=self._drain_s)

    async def _start(self) -> None:
        try:
            self._future().set_result(await self._stack.enter_async_context(self._origin))
        except Exception as error:
            self._future().set_exception(error)
            if not (self._in_the_background or isinstance(error, self._expected)):
                raise
            log.error("Understudy cannot start: %s", error)  # noqa: TRY400 - one line, for a person

    def _future(self) -> asyncio.Future[Origin]:
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
        return self._started
