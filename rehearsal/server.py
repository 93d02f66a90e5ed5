"""The rehearsal's server: receives requests, gets the answers from `script`, and sends them at their pace.

Tests can wait for events instead of times: a received request, a sent delta, a gate, a client that disconnects.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from api.http.server import Exchange, Request, Server
from rehearsal import directives
from rehearsal.errors import error_body, error_type
from rehearsal.reply import AT_HEAD, AT_START, FaultKind, Gate, Reply
from rehearsal.rules import refusals
from rehearsal.script import Score, Step, compose, failure, last_user_text, request_id
from rehearsal.tokens import PromptCache, count_prompt

MESSAGES = "/v1/messages"
MODELS = ("claude-opus-4-7", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")
MAX_BODY_BYTES = 32 * 1024 * 1024  # Anthropic's own limit for a request
_SECRET_HEADERS = ("x-api-key", "authorization", "proxy-authorization", "cookie")

_log = logging.getLogger(__name__)

type Script = Callable[[ReceivedRequest], Reply | None]


def hidden(value: str) -> str:
    """Return a text that replaces a secret in recorded headers. Equal secrets get equal texts."""
    return f"[secret {hashlib.sha256(value.encode()).hexdigest()[:8]}]"


class ReceivedRequest:
    """A received request, and the progress of its answer."""

    def __init__(self, request: Request, number: int) -> None:
        self.number = number
        self.method = request.method
        self.path = request.path
        self.query = request.query
        self.headers = tuple((name, _hide(name, value)) for name, value in request.headers)
        self.body: Any = _decoded(request.body)
        """The JSON body, None if there is none."""
        self.sent = 0
        """The number of deltas sent so far."""
        self.told: dict[str, Any] = {}
        """The usage in the answer so far. Later counts replace earlier ones. Empty at first."""
        self.arrived_at = time.monotonic()
        self.first_delta_at: float | None = None
        """When the first delta was written, by time.monotonic()."""
        self.disconnected = asyncio.Event()
        """Set when the client disconnects before its answer is complete."""
        self.ended = asyncio.Event()
        """Set when the answer has ended, for any reason."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        state = "left" if self.disconnected.is_set() else "ended" if self.ended.is_set() else "open"
        return f"<ReceivedRequest {self.number} {self.method} {self.path} {state} sent={self.sent}>"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None; secrets are `hidden`. `name` is in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    async def wait_for_sent(self, deltas: int) -> None:
        """Wait until this many deltas were sent."""
        if self.sent < deltas:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((deltas, future))
            await future

    def count_delta(self) -> None:
        """Note that one more delta was sent."""
        self.sent += 1
        if self.first_delta_at is None:
            self.first_delta_at = time.monotonic()
        for deltas, future in self._waiting:
            if deltas <= self.sent and not future.done():
                future.set_result(None)


class Rehearsal:
    """A simulated Messages API. `async with Rehearsal(delay_s=0) as rehearsal:` listens at `rehearsal.base_url`.

    `delay_s` is the time before each delta. `keep` is the number of the latest requests that are kept.
    """

    def __init__(self, *, delay_s: float = 0.02, host: str = "127.0.0.1", port: int = 0, keep: int = 1000) -> None:
        self.delay_s = delay_s
        self._server = Server(
            self._answer, host=host, port=port, max_body_bytes=MAX_BODY_BYTES, render_error=_render_error
        )
        self._received: deque[ReceivedRequest] = deque(maxlen=keep)
        self._counts: dict[str, int] = {}
        self._number = 0
        self._arrival = asyncio.Event()
        self._released = asyncio.Event()
        self._replies: deque[Reply] = deque()
        self._script: Script | None = None
        self._cache = PromptCache()

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, traceback)

    @property
    def base_url(self) -> str:
        """The address to give as ANTHROPIC_BASE_URL."""
        host, port = self._server.addresses[0]
        return f"http://{host}:{port}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The received requests that are kept, oldest first."""
        return list(self._received)

    @property
    def turns(self) -> list[ReceivedRequest]:
        """The received requests to /v1/messages."""
        return [received for received in self._received if received.path == MESSAGES]

    def script(self, *replies: Reply | Script) -> None:
        """Answer the next requests to /v1/messages with these, one each.

        A function is called for every request for which there is no Reply. If it returns None, the directives in the
        prompt decide. A new function replaces an earlier one.
        """
        for reply in replies:
            if isinstance(reply, Reply):
                self._replies.append(reply)
            else:
                self._script = reply

    def release(self) -> None:
        """Let all stalled streams continue."""
        self._released.set()
        self._released = asyncio.Event()

    def reset(self) -> None:
        """Forget scripts, received requests and the prompt cache. Running answers continue."""
        self._replies.clear()
        self._script = None
        self._received.clear()
        self._counts.clear()
        self._cache = PromptCache()

    async def wait_for_requests(self, n: int, path: str = MESSAGES) -> list[ReceivedRequest]:
        """Wait until `n` requests to a path have arrived since the start (or reset). Return those that are kept."""
        while self._counts.get(path, 0) < n:
            await self._arrival.wait()
        return [received for received in self._received if received.path == path]

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        received = self._receive(request)
        try:
            reply, score = self._decide(received)
            await self._play(exchange, received, reply, score)
        except (asyncio.CancelledError, ConnectionError):
            if exchange.disconnected:
                received.disconnected.set()
            raise
        finally:
            received.ended.set()

    def _receive(self, request: Request) -> ReceivedRequest:
        self._number += 1
        received = ReceivedRequest(request, self._number)
        self._received.append(received)
        self._counts[received.path] = self._counts.get(received.path, 0) + 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        return received

    def _decide(self, received: ReceivedRequest) -> tuple[Reply, Score]:
        """Choose the answer. `_play` sends it."""
        problem = _refusal(received)
        if problem:
            status, message = problem
            return Reply(), failure(status, None, message, request_id(received.number))
        if received.path != MESSAGES:
            return Reply(), Score(200, (), json.dumps(_look_up(received)).encode())
        try:
            reply = self._reply(received)
        except directives.DirectiveError as error:
            return Reply(), failure(400, None, f"[rehearse: …] {error}", request_id(received.number))
        usage = self._cache.usage(received.body)
        return reply, compose(received.body, reply, usage, received.number)

    def _reply(self, received: ReceivedRequest) -> Reply:
        if self._replies:
            return self._replies.popleft()
        reply = self._script(received) if self._script else None
        return reply or directives.reply_from(directives.find(last_user_text(received.body)))

    async def _play(self, exchange: Exchange, received: ReceivedRequest, reply: Reply, score: Score) -> None:
        gates = _Gates(reply, self._released)
        await gates.wait_at(AT_HEAD)
        if reply.fault and reply.fault.kind is FaultKind.DROP:
            exchange.abort()
            return
        headers = [("request-id", request_id(received.number)), ("server", "understudy-rehearsal"), *reply.headers]
        if score.body is None:
            stream = ("content-type", "text/event-stream; charset=utf-8")
            await exchange.start(score.status, [stream, ("cache-control", "no-cache"), *headers])
        await gates.wait_at(AT_START)
        delay_s = self.delay_s if reply.delay_s is None else reply.delay_s
        await self._play_steps(exchange if score.body is None else None, received, score.steps, gates, delay_s)
        if score.is_cut:
            exchange.abort()
        elif score.body is None:
            await exchange.finish()
        else:
            await exchange.respond(score.status, [("content-type", "application/json"), *headers], score.body)
            received.told |= score.usage or {}

    async def _play_steps(
        self,
        exchange: Exchange | None,
        received: ReceivedRequest,
        steps: tuple[Step, ...],
        gates: "_Gates",
        delay_s: float,
    ) -> None:
        """Send the steps at their pace. Without an exchange, only wait as long."""
        clock = asyncio.get_running_loop().time
        deadline = clock()
        total = sum(step.is_delta for step in steps)
        for index, step in enumerate(steps):
            if step.is_delta:
                if await gates.wait_at(received.sent):
                    deadline = clock()
                # Wait for a fixed time, not for a pause. So the time for sending does not add up.
                deadline += delay_s
                await asyncio.sleep(max(0.0, deadline - clock()))
            elif received.sent == total and index > 0:
                await gates.wait_for_rest()
            if exchange:
                await exchange.send(step.data)
                received.told |= step.usage or {}
            if step.is_delta:
                received.count_delta()
        await gates.wait_for_rest()


class _Gates:
    """The gates of one reply. Each is used once."""

    def __init__(self, reply: Reply, released: asyncio.Event) -> None:
        self._gates: dict[int, list[Gate]] = {k: [gate] for k, gate in reply.gates.items()}
        if reply.stall_after is not None:
            self._gates.setdefault(reply.stall_after, []).append(released)

    async def wait_at(self, k: int) -> bool:
        """Wait at gate k. Return whether there was one."""
        gates = self._gates.pop(k, None) if self._gates else None
        for gate in gates or ():
            await (gate.wait() if isinstance(gate, asyncio.Event) else gate())
        return gates is not None

    async def wait_for_rest(self) -> None:
        """Wait at all remaining gates, in order."""
        for k in sorted(self._gates):
            await self.wait_at(k)


async def serve_forever(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    delay_s: float = 0.02,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Run a rehearsal until cancelled. `ready` is called with the base URL once it listens."""
    async with Rehearsal(delay_s=delay_s, host=host, port=port, keep=1) as rehearsal:
        _log.info("This is a rehearsal at %s: it simulates Claude's API, and no model is asked.", rehearsal.base_url)
        if ready:
            ready(rehearsal.base_url)
        await asyncio.Event().wait()


def _hide(name: str, value: str) -> str:
    if name not in _SECRET_HEADERS:
        return value
    scheme, space, secret = value.partition(" ")
    return f"{scheme} {hidden(secret)}" if space and name.endswith("authorization") else hidden(value)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _refusal(received: ReceivedRequest) -> tuple[int, str] | None:
    """Return (status, message) if a request is wrong, else None."""
    known = {("POST", MESSAGES), ("POST", f"{MESSAGES}/count_tokens"), ("GET", "/v1/models")}
    is_model = received.method == "GET" and received.path.startswith("/v1/models/")
    if (received.method, received.path) not in known and not is_model:
        return 404, "Not found"
    bearer = (received.header("authorization") or "").lower().startswith("bearer ")
    if received.header("x-api-key") is None and not bearer:
        return 401, "x-api-key header is required"
    if received.method == "GET":
        name = received.path.removeprefix("/v1/models/")
        return (404, f"model: {name}") if is_model and name not in MODELS else None
    if not isinstance(received.body, dict):
        return 400, "The request body is not valid JSON"
    problem = next(refusals(received.body, counting=received.path != MESSAGES), None)
    if problem:
        return 400, problem
    model = received.body["model"]
    return None if model.startswith("claude-") else (404, f"model: {model}")


def _look_up(received: ReceivedRequest) -> Mapping[str, Any]:
    """Return the answer to a request that is not a turn."""
    if received.path == f"{MESSAGES}/count_tokens":
        return {"input_tokens": count_prompt(received.body)}
    if received.path == "/v1/models":
        data = list(_models(MODELS))
        return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return next(iter(_models([received.path.removeprefix("/v1/models/")])))


def _models(names: Iterable[str]) -> Iterable[dict[str, str]]:
    for name in names:
        title = f"{name} (rehearsal)"
        yield {"type": "model", "id": name, "display_name": title, "created_at": "2026-01-01T00:00:00Z"}


def _render_error(status: int, message: str) -> tuple[list[tuple[str, str]], bytes]:
    body = error_body(error_type(status), message, None)
    return [("content-type", "application/json")], json.dumps(body).encode()
