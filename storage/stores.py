"""What outlives a request: responses, conversations, stored chat completions and sessions, in one database."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from storage.background import Background
from storage.chat_completions import ChatCompletions
from storage.conversations import Conversations
from storage.database import Database, StoreError
from storage.encryption import Encryption
from storage.leases import LEASE_S
from storage.responses import Responses
from storage.retention import Limits, Retention
from storage.sessions import Sessions

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often it is looked whether somebody, at any proxy, wants a background response of ours cancelled."""

SWEEP_S = 60.0
"""How often what has expired is forgotten, and what dead proxies left behind is ended."""

GIVEN_UP = "The proxy that was answering has ended."


@dataclass(slots=True)
class Stores:
    """Everything that is kept. Use it in an ``async with``: it tidies up while that lasts."""

    responses: Responses
    background: Background
    conversations: Conversations
    chats: ChatCompletions
    sessions: Sessions
    retention: Retention
    wait_s: float = 600.0
    """How long a request waits for another of the same session; 0: not at all."""
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """What answers background responses here, by their ids."""
    cancelled: set[str] = field(default_factory=set)
    """Those of them that somebody asked to cancel."""
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @classmethod
    def on(
        cls,
        database: Database,
        *,
        keys: Sequence[str] = (),
        limits: Limits | None = None,
        wait_s: float = 600.0,
        lease_s: float = LEASE_S,
    ) -> Self:
        """Make them of a database. ``keys`` encrypt what is kept; a proxy that is silent for ``lease_s`` is dead.

        Raises EncryptionKeyError for what is no key.
        """
        encryption, limits = Encryption(keys), limits or Limits()
        return cls(
            responses=Responses(database, encryption),
            background=Background(database, encryption, lease_s=lease_s),
            conversations=Conversations(database, encryption),
            chats=ChatCompletions(database, encryption),
            sessions=Sessions(database, encryption, idle_s=limits.sessions_idle_s, lease_s=lease_s),
            retention=Retention(database, limits),
            wait_s=wait_s,
        )

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.background)
        chores = asyncio.create_task(self._tidy(), name="tidy up what is kept")
        self._stack.callback(chores.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = list(self.tasks.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._stack.aclose()

    def spawn(self, id: str, work: Coroutine[Any, Any, None]) -> None:
        """Have a background response answered, whoever leaves."""
        # Not create_task: mitmproxy's loop starts tasks at once, and this one must be known before it is done.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), name=f"answer {id} in the background")
        self.tasks[id] = task
        task.add_done_callback(lambda _: self.tasks.pop(id, None))

    def cancel(self, id: str) -> None:
        """Stop answering a background response, if it is answered here. Once: what tidies up then is not disturbed."""
        if (task := self.tasks.get(id)) is not None and id not in self.cancelled:
            self.cancelled.add(id)
            task.cancel()

    async def _tidy(self) -> None:
        due_s = 0.0
        while True:
            if self.tasks:
                await self._do(self._cancel_what_is_to_be())
            if due_s <= 0:
                due_s = SWEEP_S
                await self._do(self.background.fail_abandoned(given_up))
                await self._do(self.retention.sweep())
            await asyncio.sleep(LOOK_S)
            due_s -= LOOK_S

    async def _do(self, chore: Awaitable[object]) -> None:
        """Do a chore. Where one fails, the others are done all the same, and it again when it is due."""
        try:
            await chore
        except StoreError as error:
            log.warning("what is kept could not be tidied up: %s", error)
        except Exception:
            log.exception("what is kept could not be tidied up")

    async def _cancel_what_is_to_be(self) -> None:
        for id in await self.background.to_cancel():
            self.cancel(id)


def given_up(body: bytes, number: int) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Make of a response whose proxy died the one that failed, and the event that says so."""
    response = json.loads(body) | {"status": "failed", "error": {"code": "server_error", "message": GIVEN_UP}}
    event = {"type": "response.failed", "response": response, "sequence_number": number}
    return json.dumps(response).encode(), [(number, json.dumps(event).encode())]
