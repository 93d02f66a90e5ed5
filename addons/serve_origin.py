"""The origin lives as long as the proxy does."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from api.access import Access

log = logging.getLogger("understudy")


class Origin(Protocol):
    """The origin while it listens."""

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""

    @property
    def access(self) -> Access | None:
        """Who may ask; None: everyone may."""

    def refuse_new(self) -> Collection[asyncio.Task[Any]]:
        """Refuse new requests from now on. Returns the tasks of those that are still being answered."""


class ServeOrigin:
    """Start the origin when the proxy runs, and end it, and every Claude process with it, when the proxy is done.

    ``origin`` is entered once. ``token`` is what each request must show it. ``drain_s``: how long :meth:`drain` waits.
    ``before_done`` is awaited before the origin ends. ``expected`` are the exceptions at the start that are told in
    one line. ``in_the_background``: :meth:`running` does not wait for the start, and whatever needs the origin does.
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
        """Wait until the origin listens and return its addresses. Raises what kept it from starting."""
        return (await asyncio.shield(self._future())).addresses

    async def access(self) -> Access | None:
        """Wait until the origin listens and return who may ask; None: everyone may."""
        return (await asyncio.shield(self._future())).access

    async def running(self) -> None:
        """Start.

        mitmproxy calls this for a script before some of its own addons are ready, while it listens already. A script
        therefore starts the origin in the background.
        """
        if self._in_the_background:
            self._starting = asyncio.create_task(self._start(), name="start the origin")
        else:
            await self._start()

    async def done(self) -> None:
        """Stop."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        await self._before_done()
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuse new requests and give those that run their time to end."""
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
