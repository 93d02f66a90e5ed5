"""What happens to a request, from the server to its endpoint.

Each request passes the steps that :func:`steps` lists, in that order. A step looks at it, and refuses it with an
OpenAIError or passes it on, perhaps with something added. The last step calls the endpoint.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from api.answer_headers import new_request_id
from api.charging import charge_for
from api.client_identity import identity_of
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
    # It imports the SDK, which a replay does without.
    from engine.agent_engine import AgentEngine

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-understudy-origin"  # noqa: S105
"""What the proxy's addon shows the origin, so that nothing else on this machine can use the way behind the proxy."""

type Handler = Callable[[Request, Responder], Awaitable[None]]
type Replay = Callable[[Handler], Handler]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is built of. Endpoints get parts of it: :mod:`api.routes` says which."""

    turns: Turns
    status: Status
    gate: Gate = field(default_factory=Gate)
    agents: Mapping[str, "AgentEngine"] = field(default_factory=dict)
    """Engines by the model names that apps ask for them with."""
    sealer: Sealer = field(default_factory=Sealer)
    mcp_servers: tuple[str, ...] = ()
    observers: Observers = field(default_factory=Observers)
    max_message_bytes: int = 64 * 1024 * 1024
    """How large a message on a WebSocket may be."""
    replay: Replay | None = None
    """Puts the answers of a cassette before a handler; None: there is no cassette."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to its endpoint, and what is known of it so far."""

    request: ApiRequest
    exchange: Responder
    app: "App"
    turns: Turns
    """What answers it, if Claude is asked."""
    recent: Recent | None = None
    """What its connection remembers by itself; None: nothing."""
    key: Client | None = None
    """Whose key it came with; None: no key is asked for."""
    route: Route["Call"] | None = None
    charge: Charge | None = None
    """Runs work at the cost of whoever asked. Only requests that can be answered in the background need it."""

    @property
    def responding(self) -> Responding:
        """What answers it, if it is a request of the Responses API."""
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

    async def __call__(self, request: Request, exchange: Responder, recent: Recent | None = None) -> None:
        """Answer a request. ``recent`` is what its connection remembers by itself."""
        identity = identity_of(request, by_key=self.parts.gate.access is not None)
        await self._proceed(Call(ApiRequest(request, identity), exchange, self, self.parts.turns, recent))


def steps(parts: Parts, routes: tuple[CallRoute, ...]) -> list[Step]:
    """Return what happens to a request, in this order."""
    gate = parts.gate
    return [
        with_request_id,  # the log knows the request by the id that its app gets
        errors_as_answers,  # what any later step raises becomes an answer in OpenAI's shape
        partial(only_the_proxy, gate.token),  # 403 for whoever does not show the proxy's token
        partial(not_while_ending, gate.is_ending),  # 503 while the proxy ends
        *([partial(with_key, gate, routes)] if gate.access is not None else []),  # 401 without a key; also if no route
        *([partial(from_cassette, parts.replay)] if parts.replay is not None else []),  # a recording may answer it
        partial(with_route, routes),  # 404 and 405 for what no endpoint answers
        partial(with_agent, parts.agents),  # an agent's model name brings the agent's engine
        partial(metered, parts),  # what Claude is asked is within the key's budget, and counted
    ]


def chain(steps: Sequence[Step], last: Proceed) -> Proceed:
    """Return what passes a call through all steps, to ``last``."""
    for step in reversed(steps):
        last = partial(_then, step, last)
    return last


def _then(step: Step, proceed: Proceed, call: Call) -> Awaitable[None]:
    return step(call, proceed)


async def _endpoint(call: Call) -> None:
    route = call.route
    assert route is not None  # noqa: S101 - a step has seen to it
    endpoint = route.background if route.background is not None and call.charge is not None else route.endpoint
    await endpoint(call)


# The steps


async def with_request_id(call: Call, proceed: Proceed) -> None:
    """Give the request an id of its own."""
    REQUEST_ID.set(new_request_id())
    await proceed(call)


async def errors_as_answers(call: Call, proceed: Proceed) -> None:
    """Answer with the error that is raised, as long as nothing was sent."""
    exchange = call.exchange
    try:
        await proceed(call)
    except (OpenAIError, StoreError) as failure:
        if exchange.started:
            raise
        error = unreadable(failure) if isinstance(failure, StoreError) else failure
        await exchange.respond(error.status, error_headers(error), error.body())


async def only_the_proxy(token: str | None, call: Call, proceed: Proceed) -> None:
    """Let only the proxy in. Raises OpenAIError (403)."""
    # As bytes: compare_digest takes no text beyond ASCII, which a header may hold.
    given = (call.request.header(TOKEN_HEADER) or "").encode()
    if token is not None and not secrets.compare_digest(given, token.encode()):
        raise OpenAIError(
            "This port is Understudy's own; requests come through the proxy.", status=403, code="forbidden"
        )
    await proceed(call)


async def not_while_ending(is_ending: Callable[[], bool], call: Call, proceed: Proceed) -> None:
    """Refuse what comes while the proxy ends. Raises OpenAIError (503)."""
    if is_ending():
        raise openai_error("draining", retry_after_s=1)
    await proceed(call)


async def with_key(gate: Gate, routes: tuple[CallRoute, ...], call: Call, proceed: Proceed) -> None:
    """Ask for a key, also for paths that no route has. Raises OpenAIError (401)."""
    http = call.request.http
    if gate.access is not None and not is_for_everybody(routes, http.method, http.path):
        call = replace(call, key=await gate.access.client(http))
    await proceed(call)


async def from_cassette(replay: Replay, call: Call, proceed: Proceed) -> None:
    """Answer from the cassette, or pass on what it does not answer. Raises OpenAIError (409)."""

    async def live(request: Request, exchange: Responder) -> None:
        await proceed(call)

    await replay(live)(call.request.http, call.exchange)


async def with_route(routes: tuple[CallRoute, ...], call: Call, proceed: Proceed) -> None:
    """Find the endpoint and the path's parameters. Raises OpenAIError (404, 405)."""
    request = call.request
    route = find(routes, request.http.method, request.http.path)
    request = replace(request, params=route.params(request.http.path))
    await proceed(replace(call, request=request, route=route))


async def with_agent(agents: Mapping[str, "AgentEngine"], call: Call, proceed: Proceed) -> None:
    """Have an agent answer whose model name was asked for. Raises OpenAIError (404) for one that is not there."""
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
    """Count what Claude is asked, and book it to the key. Raises OpenAIError (403, 429)."""
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
