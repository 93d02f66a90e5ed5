"""The progress of a request, for the log: its id, the number of the try, and what it waits for.

If a request waits for long, the log says so after some seconds, and again at growing intervals. The code that waits
calls :func:`waiting_for`, which finds the request in a context variable.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Self

from engine.errors import ClaudeError
from translate.errors import Kind

log = logging.getLogger(__name__)

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the present request (the header ``x-request-id`` of its answer); "" outside of a request."""

# How long a request waits for one thing before the log says so.
FIRST_S = 5.0

# The longest interval between two log lines about the same wait. The interval doubles each time.
LONGEST_GAP_S = 60.0

# Failures without a request to the API. The API's address is not logged for them.
WITHOUT_API: frozenset[Kind] = frozenset(
    {"busy", "queue_full", "draining", "cli_not_found", "cli_failed", "not_logged_in"}
)


class Wait(StrEnum):
    """What a request can wait for."""

    PLACE = "a place in the queue"
    READY = "Claude Code to be ready"
    TOKEN = "Claude's first token"  # noqa: S105
    PIECE = "the next piece of Claude's answer"
    RETRY = "the next try"
    READER = "the app to read what has come"


class Progress:
    """The progress of one turn, with at most ``tries`` tries. It is logged while the block runs.

    ``host`` is the API's address. The first log line about a wait comes after ``first_s`` seconds.
    """

    def __init__(self, *, tries: int = 1, host: str = "", first_s: float = FIRST_S) -> None:
        self.request_id = REQUEST_ID.get()
        self.tries = tries
        self.host = host
        self._first_s = self._due_s = first_s
        self._try = 1
        self._began = self._try_began = self._since = self._told_of = time.monotonic()
        self._what = Wait.READY
        self._more: Callable[[], str] | None = None
        self._spoken = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        _CURRENT.set(self)
        self._timer = asyncio.get_running_loop().call_later(self._first_s, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        # The context variable is not reset, because this may run in another context than __enter__.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin_try(self, number: int) -> None:
        """Note that a try begins. The first is number 1. Call it in the task that plays the try."""
        _CURRENT.set(self)
        self._try, self._try_began = number, time.monotonic()
        self._spoken = False
        self.on(Wait.READY)

    def on(self, what: Wait, more: Callable[[], str] | None = None) -> None:
        """Note what the turn waits for from now on. ``more`` returns details for the log."""
        self._what, self._more, self._since = what, more, time.monotonic()

    def heard(self, event: Mapping[str, Any]) -> None:
        """Note that an event was read, and that the turn waits for the next one."""
        self._spoken = self._spoken or event.get("type") == "content_block_delta"
        self.on(Wait.PIECE if self._spoken else Wait.TOKEN)

    def describe_failure(self, error: ClaudeError, *, only_try: bool = False) -> str:
        """Return the log line for a failed try: the request, the try, the API's address, the duration and the reason.

        ``only_try`` leaves out the number of the try, for failures that are never retried.
        """
        at = self.host if error.kind not in WITHOUT_API else ""
        took = f"after {time.monotonic() - self._try_began:.2f} s"
        known = (self._request(), "" if only_try else self._which_try(), at, took)
        return f"Claude's side failed ({', '.join(filter(None, known))}): {error.describe()}"

    def _request(self) -> str:
        return f"request {self.request_id}" if self.request_id else ""

    def _which_try(self) -> str:
        return f"try {self._try} of {self.tries}"

    def _look(self) -> None:
        """Log what the turn waits for, if it has waited for long enough. Then check again later."""
        if self._since != self._told_of:
            self._told_of, self._due_s = self._since, self._first_s
        now = time.monotonic()
        waited_s = now - self._since
        if waited_s >= self._due_s:
            self._due_s = waited_s + min(waited_s, LONGEST_GAP_S)
            more = f" ({self._more()})" if self._more is not None else ""
            log.info(
                "%s is still waiting for %s%s after %.0f s; %.0f s in all, %s",
                self._request() or "a request",
                self._what,
                more,
                waited_s,
                now - self._began,
                self._which_try(),
            )
        self._timer = asyncio.get_running_loop().call_later(self._first_s, self._look)


_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


def waiting_for(what: Wait, more: Callable[[], str] | None = None) -> None:
    """Note what the present turn waits for from now on, if its progress is logged."""
    if (progress := _CURRENT.get()) is not None:
        progress.on(what, more)
