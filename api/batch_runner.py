"""Runs the batches of the store: one task looks for work, and answers lines when no other request waits.

A line is answered like a request that its owner had sent: with the same endpoint, key, budget and limits. What does not
depend on the line is tried again: a budget of requests or tokens per minute, and a proxy or API that has no room.
:mod:`storage.batches` says how several proxies share the work.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from api.app import App
from api.batch_lines import MAX_ERRORS, InvalidLineError, LineReader, Usage, answered, encoded, not_answered
from api.client_identity import ClientIdentity
from api.http.responder import Headers
from api.http.server import Request
from auth.keys.clients import Client
from engine.aside import aside
from engine.places import owner_in
from engine.tasks import TaskSet
from storage.batches import MAX_ATTEMPTS, Batch, Line, LostError
from storage.database import StoreError
from storage.files import PIECE_BYTES
from storage.lease_renewal import keep_renewing
from storage.stores import Stores
from translate.errors import OpenAIError
from translate.long_work import weight
from translate.sse import EncodedEvent

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often this proxy looks for work that another proxy has left."""

SETTLE_S = 0.1
"""After a line has begun: how long until the engine shows that a place is taken."""

RETRY_S = 5.0
MAX_RETRY_S = 300.0

CRASHED = OpenAIError("The server had an error while processing your request.", status=500, type="server_error")

AT_ONCE = 200
BYTES_AT_ONCE = 4 * 1024 * 1024
"""One transaction writes so many lines, or fewer if these have as many bytes."""


class Collected:
    """The answer to a line, in memory."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.started = False
        self.ended = False
        self.status = 0
        self.body = b""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Keep the answer."""
        self.status, self.body = status, body
        self.headers += headers
        self.started = self.ended = True

    async def start(self, status: int, headers: Headers) -> None:
        """Refuse a stream: lines are answered whole."""
        raise RuntimeError("a line of a batch is not streamed")

    async def send(self, data: bytes) -> None:
        """Refuse a stream."""
        raise RuntimeError("a line of a batch is not streamed")

    async def send_events(self, events: Sequence[EncodedEvent]) -> None:
        """Refuse a stream."""
        raise RuntimeError("a line of a batch is not streamed")

    async def send_keep_alive(self) -> None:
        """Do nothing: nobody waits."""

    async def finish(self) -> None:
        """Do nothing: the answer was kept whole."""

    def abort(self) -> None:
        """Do nothing: there is no connection."""

    def header(self, name: str) -> str | None:
        """Return the value of a header."""
        return next((value for key, value in self.headers if key == name), None)


class BatchRunner:
    """Runs batches. Use it in an ``async with``: it works until the block ends.

    Up to ``concurrency`` lines run at once; with 0 this proxy runs no batches. ``is_ending``: begin nothing more.
    """

    def __init__(
        self,
        app: App,
        stores: Stores,
        *,
        concurrency: int,
        is_ending: Callable[[], bool] = lambda: False,
        poll_s: float = POLL_S,
    ) -> None:
        self._app = app
        self._stores = stores
        self._concurrency = concurrency
        self._is_ending = is_ending
        self._poll_s = poll_s
        self._chores = TaskSet()
        self._lines: set[asyncio.Task[None]] = set()
        self._care: asyncio.Task[None] | None = None
        self._failures: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        if self._concurrency:
            self._chores.start(self._run(), "run batches")
            batches = self._stores.batches
            warning = "other proxies may answer lines of batches that this one still answers"
            self._chores.start(
                keep_renewing(lambda: batches.renew(), batches.lease_s, warning=warning), "renew the leases of batches"
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = {*self._lines, *([self._care] if self._care else [])}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._chores.cancel()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that answer lines now."""
        return frozenset(self._lines)

    async def _run(self) -> None:
        changed = self._stores.batches.changed
        while True:
            changed.clear()
            try:
                found = (
                    not self._is_ending() and await self._stores.batches.any_open() and await self._begin_something()
                )
            except StoreError as error:
                log.warning("batches wait: %s", error)
                found = False
            if found:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), self._poll_s)

    async def _begin_something(self) -> bool:
        """Begin the care of a batch, or a line. Return whether there was one."""
        if not await self._stores.batches.any_open():
            return False
        found = False
        if self._care is None and (batch := await self._stores.batches.claim()) is not None:
            self._care = self._start(self._take_care(batch), f"take care of {batch.id}")
            self._care.add_done_callback(lambda _: self._care_ended())
            found = True
        if len(self._lines) < self._concurrency and not self._is_busy():
            line = await self._stores.batches.claim_line()
            if line is not None:
                task = self._start(self._answer(line), f"answer line {line.number} of {line.batch.id}")
                self._lines.add(task)
                task.add_done_callback(self._line_ended)
                await asyncio.sleep(SETTLE_S)
                found = True
        return found

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # Not create_task: mitmproxy's loop is eager, so the task could end before it is known here.
        return asyncio.Task(work, loop=asyncio.get_running_loop(), name=name)

    def _line_ended(self, task: asyncio.Task[None]) -> None:
        self._lines.discard(task)
        self._stores.batches.changed.set()

    def _care_ended(self) -> None:
        self._care = None
        self._stores.batches.changed.set()

    def _is_busy(self) -> bool:
        """Whether other requests need the engine: some wait, or only one place is free."""
        status = self._app.parts.turns.engine.status()
        limit = status.get("limit")
        return bool(status.get("waiting")) or (limit is not None and status.get("running", 0) >= max(1, limit - 1))

    # Batches.

    async def _take_care(self, batch: Batch) -> None:
        after_s = 0.0
        try:
            await (self._validate(batch) if batch.status == "validating" else self._end(batch))
            self._failures.pop(batch.id, None)
        except LostError as error:
            self._failures.pop(batch.id, None)
            log.info("%s", error)
        except Exception as error:
            failures = self._failures[batch.id] = self._failures.get(batch.id, 0) + 1
            after_s = min(RETRY_S * 2 ** min(failures - 1, 16), MAX_RETRY_S)
            if isinstance(error, StoreError):
                # It may pass: another proxy may have the key, or the database may come back.
                log.warning("%s waits: %s", batch.id, error)
                is_over = batch.expires_at <= time.time()
            else:
                log.exception("%s could not be taken care of", batch.id)
                is_over = True
            if is_over and failures >= MAX_ATTEMPTS:
                await self._give_up(batch)
        finally:
            if batch.id in self._stores.batches.held.batches:
                with contextlib.suppress(StoreError):
                    await asyncio.shield(self._stores.batches.leave(batch, after_s=after_s))

    async def _give_up(self, batch: Batch) -> None:
        told = InvalidLineError(None, "server_error", "The server had an error while processing this batch.")
        try:
            await self._stores.batches.fail(batch, [told.error])
        except (LostError, StoreError) as error:
            log.warning("%s: %s", batch.id, error)
        self._failures.pop(batch.id, None)

    async def _validate(self, batch: Batch) -> None:
        """Read the lines of the input file into the store, or fail the batch with what is wrong with them."""
        stores = self._stores
        file = await stores.files.get(batch.input_file_id, batch.owner)
        if file is None:
            missing = InvalidLineError(None, "file_not_found", "The input file does not exist.", "input_file_id")
            await stores.batches.fail(batch, [missing.error])
            return
        reader = LineReader(batch.endpoint, self._app.parts.max_message_bytes)
        errors: list[Mapping[str, Any]] = []
        requests: list[dict[str, Any]] = []
        total = size = 0
        try:
            async for number, line in reader.lines(stores.files.pieces(file.id)):
                try:
                    requests.append(await aside(len(line), reader.read, number, line))
                    size += len(line)
                except InvalidLineError as error:
                    errors.append(error.error)
                    if len(errors) >= MAX_ERRORS:
                        break
                if len(requests) >= AT_ONCE or size >= BYTES_AT_ONCE:
                    await stores.batches.add_lines(batch, total, requests)
                    total, requests, size = total + len(requests), [], 0
        except InvalidLineError as error:
            errors.append(error.error)
        if not errors and not total and not requests:
            errors = [InvalidLineError(None, "empty_file", "The input file has no requests.").error]
        if errors:
            await stores.batches.fail(batch, errors)
            return
        await stores.batches.add_lines(batch, total, requests)
        await stores.batches.begin(batch, total + len(requests), reader.model)

    async def _end(self, batch: Batch) -> None:
        """Write the results to files, and end the batch."""
        batches = self._stores.batches
        batch = await batches.finalize(batch)
        output, errors = Writer(self._stores, batch, "output"), Writer(self._stores, batch, "error")
        usage, after, failed, left = Usage(), -1, 0, 0
        while found := await batches.results(batch, after, AT_ONCE):
            for number, status, size, kept in found:
                after, result = number, kept
                if status not in ("completed", "failed"):
                    left += 1
                    if batch.status == "cancelling":
                        continue
                    message = "This request could not be executed before the completion window expired."
                    result = not_answered(kept, "batch_expired", message)
                usage.add(result)
                failed += status != "completed"
                await (output if status == "completed" else errors).add(await aside(size, encoded, result))
        await batches.end(
            batch,
            "cancelled" if batch.status == "cancelling" else "expired" if left else "completed",
            output=await output.close(),
            errors=await errors.close(),
            failed=failed,
            usage=usage.object(),
        )

    # Lines.

    async def _answer(self, line: Line) -> None:
        batches = self._stores.batches
        try:
            if line.attempts > MAX_ATTEMPTS:
                told = "The proxy failed each time that it answered this request."
                await batches.finish_line(line, not_answered(line.request, "server_error", told), ok=False)
                return
            collected = await self._ask(line)
            await self._settle(line, collected)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreError):
                await asyncio.shield(batches.release_line(line))
            raise
        except StoreError as error:
            log.warning("line %d of %s is answered again later: %s", line.number, line.batch.id, error)
            batches.held.lines.discard((line.batch.id, line.number))
        except Exception:
            # Without this the lease would be renewed for ever, and no proxy would answer the line.
            log.exception("line %d of %s is answered again later", line.number, line.batch.id)
            with contextlib.suppress(StoreError):
                await batches.release_line(line, after_s=RETRY_S, counts=True)

    async def _ask(self, line: Line) -> Collected:
        batch, collected = line.batch, Collected()
        try:
            key = await self._key(batch)
            check_body(line.request["body"])
            identity = ClientIdentity(batch.owner, f"{owner_in(batch.client)}/batch", None)
            body = await aside(weight(line.request), msgspec.json.encode, line.request["body"])
            request = Request("POST", batch.endpoint, "", (("content-type", "application/json"),), body)
            await self._app.answer_within(request, collected, identity, key)
        except OpenAIError as error:
            await collected.respond(error.status, [], error.body())
        except StoreError:
            raise
        except Exception:
            log.exception("line %d of %s could not be answered", line.number, batch.id)
            await collected.respond(500, [], CRASHED.body())
        return collected

    async def _key(self, batch: Batch) -> Client | None:
        """Return the client that pays. Raises OpenAIError (401) if its key is no longer valid."""
        access = self._app.parts.gate.access
        if access is None:
            return None
        client = await access.holder(batch.client_id) if batch.client_id is not None else None
        if client is None:
            raise OpenAIError("The key of this batch is no longer valid.", status=401, code="invalid_api_key")
        return client

    async def _settle(self, line: Line, collected: Collected) -> None:
        """Store the answer to a line, or put the line back where a later answer may be another one."""
        batches, status = self._stores.batches, collected.status
        body = await aside(len(collected.body), _decoded, collected.body)
        match body:
            case {"error": {"code": str(code)}}:
                pass
            case _:
                code = ""
        if (status == 429 and code != "insufficient_quota") or status == 503:
            await batches.release_line(line, after_s=_retry_after(collected))
        elif status >= 500 and line.attempts < MAX_ATTEMPTS:
            await batches.release_line(line, after_s=_retry_after(collected), counts=True)
        else:
            result = answered(line, status, collected.header("x-request-id") or "", body)
            if not await batches.finish_line(line, result, ok=200 <= status < 300):
                log.warning("line %d of %s was answered twice: the lease had run out", line.number, line.batch.id)


class Writer:
    """Writes a file of results, piece by piece. It is ready when the batch ends."""

    def __init__(self, stores: Stores, batch: Batch, name: str) -> None:
        self._files = stores.files
        self._batch = batch
        self._name = f"{batch.id}_{name}.jsonl"
        self._id: str | None = None
        self._position = 0
        self._size = 0
        self._rest = bytearray()

    async def add(self, data: bytes) -> None:
        """Add bytes."""
        self._rest += data
        self._size += len(data)
        while len(self._rest) >= PIECE_BYTES:
            await self._write(bytes(self._rest[:PIECE_BYTES]))
            del self._rest[:PIECE_BYTES]

    async def close(self) -> tuple[str, int] | None:
        """Write the rest. Return the file's id and size, or None if nothing was added."""
        if self._rest:
            await self._write(bytes(self._rest))
        return None if self._id is None else (self._id, self._size)

    async def _write(self, piece: bytes) -> None:
        if self._id is None:
            file = await self._files.begin(
                *(self._batch.owner, self._name, 0),
                purpose="batch_output",
                media_type="application/jsonl",
                expires_s=self._batch.output_expires_s,
                has_room=True,
            )
            self._id = file.id
        self._position = await self._files.write(self._id, self._position, [piece])


def check_body(body: Mapping[str, Any]) -> None:
    """Refuse what makes no sense in a batch. Raises OpenAIError (400)."""
    for name in ("stream", "background"):
        if body.get(name):
            raise OpenAIError(f"'{name}' is not supported in a batch.", param=name, code="unsupported_value")


def _decoded(body: bytes) -> Any:
    return msgspec.json.decode(body)


def _retry_after(collected: Collected) -> float:
    value = collected.header("retry-after") or ""
    return min(float(value), MAX_RETRY_S) if value.isascii() and value.isdigit() else RETRY_S
