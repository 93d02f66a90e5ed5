"""What happens to a request, from the server to its endpoint.

Each request passes the steps that :func:`steps` lists, in that order. A step either refuses the request
with an OpenAIError or passes it on. It may add data to the call. The last step calls the endpoint.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from api.answer_headers import BEGAN, new_request_id
from api.body_bounds import Bounds
from api.charging import charge_for
from api.client_identity import ClientIdentity, identity_of
from api.compressed import held, uncompressed
from api.failures import error_headers, unreadable
from api.http.responder import Responder
from api.http.server import Request
from api.parts import Charge, Gate, Responding, Status, Turns
from api.recent import Recent
from api.request import ApiRequest
from api.routing import Route, find, is_for_everybody
from api.sealing import Sealer
from auth.keys.clients import Client
from engine import Engine
from engine.agents import PREFIX
from engine.observers import Observers
from engine.progress import REQUEST_ID
from storage.database import StoreError
from translate.errors import OpenAIError, openai_error

if TYPE_CHECKING:
    # This module imports the SDK. A replay does not need the SDK.
    from engine.agent_engine import AgentEngine

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-understudy-origin"  # noqa: S105
"""The header with the proxy's token. Without the token, no other program on this machine can use the origin."""

type Handler = Callable[[Request, Responder], Awaitable[None]]
type Replay = Callable[[Handler], Handler]


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects that the application is built from. :mod:`api.routes` passes each endpoint those that it needs."""

    turns: Turns
    status: Status
    gate: Gate = field(default_factory=Gate)
    agents: Mapping[str, "AgentEngine"] = field(default_factory=dict)
    """The agents' engines, by the model name that an app sends to use the agent."""
    sealer: Sealer = field(default_factory=Sealer)
    mcp_servers: tuple[str, ...] = ()
    observers: Observers = field(default_factory=Observers)
    max_message_bytes: int = 64 * 1024 * 1024
    """The largest WebSocket message that is accepted, and the largest body once it is decompressed, in bytes."""
    max_bodies_bytes: int = 128 * 1024 * 1024
    """How much all bodies that were compressed may have together, once they are decompressed, in bytes."""
    replay: Replay | None = None
    """Wraps a handler so that the cassette answers first. None if there is no cassette."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to its endpoint, with the data that the steps have added so far."""

    request: ApiRequest
    exchange: Responder
    app: "App"
    turns: Turns
    """The engine and the settings that answer the request if it needs Claude."""
    recent: Recent | None = None
    """The recent responses that the connection holds in memory. None if it holds none."""
    key: Client | None = None
    """The client that owns the request's API key. None if no key is required."""
    route: Route["Call"] | None = None
    charge: Charge | None = None
    """Runs work and charges it to the client. Only requests that can be answered in the background need it."""

    @property
    def responding(self) -> Responding:
        """The objects that answer a request of the Responses API."""
        parts = self.app.parts
        return Responding(self.turns, parts.sealer, parts.mcp_servers, self.recent)


type Proceed = Callable[[Call], Awaitable[None]]
type Step = Callable[[Call, Proceed], Awaitable[None]]
type CallRoute = Route[Call]


class App:
    """The server's handler: answers each request with the endpoint of its route."""

    def __init__(self, parts: Parts, routes: tuple[CallRoute, ...]) -> None:
        self.parts = parts
        self._proceed = chain(steps(parts, routes), _endpoint)
        self._proceed_within = chain(steps_within(parts, routes), _endpoint)

    async def __call__(self, request: Request, exchange: Responder, recent: Recent | None = None) -> None:
        """Answer a request. ``recent`` holds the responses that the connection has in memory."""
        identity = identity_of(request, by_key=self.parts.gate.access is not None)
        await self._proceed(Call(ApiRequest(request, identity), exchange, self, self.parts.turns, recent))

    async def answer_within(
        self, request: Request, exchange: Responder, identity: ClientIdentity, key: Client | None
    ) -> None:
        """Answer a request that the proxy makes itself for a client, such as a line of a batch."""
        await self._proceed_within(Call(ApiRequest(request, identity), exchange, self, self.parts.turns, key=key))


def steps(parts: Parts, routes: tuple[CallRoute, ...]) -> list[Step]:
    """Return the steps that each request passes, in order."""
    gate = parts.gate
    bounds = Bounds(parts.max_message_bytes, parts.max_bodies_bytes)
    return [
        with_request_id,  # the log and the app see the same request id
        errors_as_answers,  # an error of a later step becomes a response in OpenAI's format
        partial(only_the_proxy, gate.token),  # 403 if the request lacks the proxy's token
        partial(not_while_ending, gate.is_ending),  # 503 while the proxy shuts down
        *([partial(with_key, gate, routes)] if gate.access is not None else []),  # 401 without a key, on any path
        partial(with_plain_body, bounds),  # undoes a compressed body; 413, 415, 503
        *([partial(from_cassette, parts.replay)] if parts.replay is not None else []),  # the cassette may answer
        partial(with_route, routes),  # 404 or 405 if no endpoint matches
        decoded,  # a large body is decoded in a thread
        partial(with_agent, parts.agents),  # an agent's model name selects the agent's engine
        partial(metered, parts),  # checks the key's budget and counts the usage
    ]


def steps_within(parts: Parts, routes: tuple[CallRoute, ...]) -> list[Step]:
    """Return the steps of a request that the proxy makes itself: the client is known, and may ask."""
    return [
        with_request_id,
        errors_as_answers,
        partial(with_route, routes),
        partial(with_agent, parts.agents),
        partial(metered, parts),
    ]


def chain(steps: Sequence[Step], last: Proceed) -> Proceed:
    """Return a function that passes a call through all steps and then to ``last``."""
    for step in reversed(steps):
        last = partial(_then, step, last)
    return last


def _then(step: Step, proceed: Proceed, call: Call) -> Awaitable[None]:
    return step(call, proceed)


async def _endpoint(call: Call) -> None:
    route = call.route
    assert route is not None  # noqa: S101 - with_route has set it
    endpoint = route.background if route.background is not None and call.charge is not None else route.endpoint
    await endpoint(call)


# The steps


async def with_request_id(call: Call, proceed: Proceed) -> None:
    """Give the request a new id, and note when it came."""
    REQUEST_ID.set(new_request_id())
    BEGAN.set(time.monotonic())
    await proceed(call)


async def errors_as_answers(call: Call, proceed: Proceed) -> None:
    """Answer with the error that a later step raises. Raise it again if the response has started."""
    exchange = call.exchange
    try:
        await proceed(call)
    except (OpenAIError, StoreError) as failure:
        if exchange.started:
            raise
        error = unreadable(failure) if isinstance(failure, StoreError) else failure
        await exchange.respond(error.status, error_headers(error), error.body())


async def only_the_proxy(token: str | None, call: Call, proceed: Proceed) -> None:
    """Accept only requests with the proxy's token. Raises OpenAIError (403) otherwise."""
    # Compare bytes: compare_digest raises TypeError for non-ASCII text, and a header may contain such text.
    given = (call.request.header(TOKEN_HEADER) or "").encode()
    if token is not None and not secrets.compare_digest(given, token.encode()):
        raise OpenAIError(
            "This port is Understudy's own; requests come through the proxy.", status=403, code="forbidden"
        )
    await proceed(call)


async def not_while_ending(is_ending: Callable[[], bool], call: Call, proceed: Proceed) -> None:
    """Refuse new requests while the proxy shuts down. Raises OpenAIError (503)."""
    if is_ending():
        raise openai_error("draining", retry_after_s=1)
    await proceed(call)


async def with_key(gate: Gate, routes: tuple[CallRoute, ...], call: Call, proceed: Proceed) -> None:
    """Require an API key, even if no route matches the path. Raises OpenAIError (401)."""
    http = call.request.http
    if gate.access is not None and not is_for_everybody(routes, http.method, http.path):
        call = replace(call, key=await gate.access.client(http))
    await proceed(call)


async def with_plain_body(bounds: Bounds, call: Call, proceed: Proceed) -> None:
    """Undo the compression of the request's body. Raises OpenAIError (400, 413, 415, 503)."""
    http = await uncompressed(call.request.http, call.exchange, bounds.max_body_bytes)
    if http is call.request.http:
        await proceed(call)
        return
    with held(bounds, http.body, None if call.key is None else hash(call.key.id)):
        await proceed(replace(call, request=replace(call.request, http=http)))


async def from_cassette(replay: Replay, call: Call, proceed: Proceed) -> None:
    """Answer from the cassette, or pass on a request that it cannot answer. Raises OpenAIError (409)."""

    async def live(request: Request, exchange: Responder) -> None:
        await proceed(call)

    await replay(live)(call.request.http, call.exchange)


async def with_route(routes: tuple[CallRoute, ...], call: Call, proceed: Proceed) -> None:
    """Find the endpoint and the path parameters. Raises OpenAIError (404, 405)."""
    request = call.request
    route = find(routes, request.http.method, request.http.path)
    request = replace(request, params=route.params(request.http.path))
    if route.asks_claude and (model := request.params.get("model")) is not None:
        # The oldest paths name the model. The later steps read it from the body.
        request = request.with_json({**request.json, "model": model})
    await proceed(replace(call, request=request, route=route))


async def decoded(call: Call, proceed: Proceed) -> None:
    """Decode a JSON body, so that no later step has to do it on the event loop."""
    if call.route is None or not call.route.reads_form:
        await call.request.decode()
    await proceed(call)


async def with_agent(agents: Mapping[str, "AgentEngine"], call: Call, proceed: Proceed) -> None:
    """Use an agent's engine if the request names an agent as its model. Raises OpenAIError (404) if it is unknown."""
    if not (agents and call.route is not None and call.route.asks_claude and call.request.model.startswith(PREFIX)):
        await proceed(call)
        return
    model = call.request.model
    engine = agents.get(model)
    if engine is None:
        raise OpenAIError(f"The model '{model}' does not exist", status=404, param="model", code="model_not_found")
    agent, turns = engine.agent, call.turns
    turns = replace(
        turns,
        engine=engine,
        model_map={model: agent.model, **turns.model_map},
        show_reasoning=agent.show,
        agent=agent,
    )
    await proceed(replace(call, turns=turns))


async def metered(parts: Parts, call: Call, proceed: Proceed) -> None:
    """Count the use of Claude and charge it to the API key. Raises OpenAIError (403, 429)."""
    route = call.route
    if route is None or not route.asks_claude:
        await proceed(call)
        return
    charge = charge_for(
        call.request,
        call.exchange,
        call.turns,
        access=parts.gate.access,
        key=call.key,
        observers=parts.observers,
        totals=parts.status.totals,
    )
    if route.background is not None and call.request.is_for_the_background:
        await proceed(replace(call, charge=charge))
        return

    async def answer(engine: Engine) -> None:
        await proceed(replace(call, turns=replace(call.turns, engine=engine)))

    await charge(answer)
