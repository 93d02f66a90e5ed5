"""All stores in one database, and the tasks that keep it tidy."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from storage.background import Background
from storage.batches import Batches
from storage.chat_completions import ChatCompletions
from storage.conversations import Conversations
from storage.database import Database, StoreError
from storage.encryption import Encryption
from storage.files import Files, Quota
from storage.lease_renewal import LEASE_S
from storage.responses import Responses
from storage.retention import Limits, Retention
from storage.sessions import Sessions
from storage.uploads import Uploads

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often this proxy checks whether a client has cancelled one of its background responses."""

SWEEP_S = 60.0
"""How often expired rows are deleted, and background responses of dead proxies are ended."""

GIVEN_UP = "The proxy that was answering has ended."


@dataclass(slots=True)
class Stores:
    """All stores. Use it in an ``async with``: expired rows are deleted and leases renewed until the block ends."""

    responses: Responses
    background: Background
    conversations: Conversations
    chats: ChatCompletions
    sessions: Sessions
    files: Files
    uploads: Uploads
    batches: Batches
    retention: Retention
    wait_s: float = 600.0
    """How many seconds a request waits for another request of the same session; 0: it does not wait."""
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The tasks that answer background responses in this process, by response id."""
    cancelled: set[str] = field(default_factory=set)
    """The responses in ``tasks`` that a client has cancelled."""
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @classmethod
    def on(
        cls,
        database: Database,
        *,
        keys: Sequence[str] = (),
        limits: Limits | None = None,
        quota: Quota | None = None,
        wait_s: float = 600.0,
        lease_s: float = LEASE_S,
    ) -> Self:
        """Make all stores for a database. ``keys`` encrypt JSON and files. ``quota`` limits the files.

        A proxy counts as dead if it has not renewed a lease for ``lease_s`` seconds. Raises EncryptionKeyError for an
        invalid key.
        """
        encryption, limits = Encryption(keys), limits or Limits()
        files = Files(database, encryption, quota)
        return cls(
            responses=Responses(database, encryption),
            background=Background(database, encryption, lease_s=lease_s),
            conversations=Conversations(database, encryption),
            chats=ChatCompletions(database, encryption),
            sessions=Sessions(database, encryption, idle_s=limits.sessions_idle_s, lease_s=lease_s),
            files=files,
            uploads=Uploads(database, encryption, files),
            batches=Batches(database, encryption, lease_s=lease_s, stored=files),
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
        """Answer a background response in a task of its own, even if the client leaves."""
        # Not create_task: mitmproxy's loop is eager, so the task could end before it is in `tasks`.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), name=f"answer {id} in the background")
        self.tasks[id] = task
        task.add_done_callback(lambda _: self.tasks.pop(id, None))

    def cancel(self, id: str) -> None:
        """Stop answering a background response, if this process answers it. A second call does nothing."""
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
        """Run one chore. If it fails, that is logged: the other chores run, and this one runs again when it is due."""
        try:
            await chore
        except StoreError as error:
            log.warning("expired rows could not be deleted: %s", error)
        except Exception:
            log.exception("expired rows could not be deleted")

    async def _cancel_what_is_to_be(self) -> None:
        for id in await self.background.to_cancel():
            self.cancel(id)


def given_up(body: bytes, number: int) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Turn the body of a response whose proxy died into a failed one, and make the event that says so."""
    response = json.loads(body) | {"status": "failed", "error": {"code": "server_error", "message": GIVEN_UP}}
    event = {"type": "response.failed", "response": response, "sequence_number": number}
    return json.dumps(response).encode(), [(number, json.dumps(event).encode())]
