"""The routes, as a table; what is not in it gets OpenAI's 404, which names what is."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from api.access import Access, asked_model
from api.http.server import Exchange, Handler, Request
from api.images import Images
from api.meter import Meter, Totals
from api.path_suggestions import LONGEST, VERSION, closest_path
from api.recent import Recent
from api.sealing import Sealer
from engine import Engine
from engine.agent_engine import AgentEngine
from engine.agents import PREFIX, Agent
from engine.observers import FLOW_HEADER, Observers
from engine.progress import REQUEST_ID
from storage.database import StoreError
from storage.stores import Stores
from translate.errors import ErrorType, OpenAIError, openai_error
from translate.models import choose_model
from translate.turn import Turn

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-understudy-origin"  # noqa: S105
"""What the proxy's addon shows the origin, so that nothing else on this machine can use the way behind the proxy."""

CLIENT_HEADER = "x-understudy-client"
"""Where the proxy's addon says from which address a request came: to the origin all come from the proxy."""

UNREADABLE = "What is stored cannot be read at the moment."

JSON = ("content-type", "application/json")


async def _nobody_pays(work: Callable[[Engine], Awaitable[None]]) -> None:
    raise RuntimeError("nobody has asked for this")


@dataclass(frozen=True, slots=True)
class Service:
    """What the endpoints work with."""

    engine: Engine
    model_map: Mapping[str, str]
    default_model: str
    rehearsal: bool = False
    show_reasoning: bool = False
    web_search: bool = True
    """Whether apps may have the web searched."""
    mcp_servers: tuple[str, ...] = ()
    """Patterns of the addresses of MCP servers that apps may have Claude use."""
    token: str | None = None
    max_body_bytes: int = 64 * 1024 * 1024
    keep_alive_s: float = 15.0
    is_ending: Callable[[], bool] = lambda: False
    access: Access | None = None
    sealer: Sealer = field(default_factory=Sealer)
    images: Images = field(default_factory=Images)
    stores: Stores | None = None
    """Where things are kept; None: nowhere."""
    recent: Recent | None = None
    """What a connection remembers by itself; None: nothing."""
    handler: Callable[["Service"], Handler] | None = None
    """Makes what handles requests, for those that come in other ways than by HTTP."""
    charged: "Callable[[Callable[[Engine], Awaitable[None]]], Awaitable[None]]" = _nobody_pays
    """Runs work on an engine at the cost of whoever asked, also after their request has been answered."""
    about_auth: Callable[[], Mapping[str, Any]] = dict
    agents: Mapping[str, AgentEngine] = field(default_factory=dict)
    """Engines by the model names that apps ask for them with."""
    agent: Agent | None = None
    """The agent that answers, if it is one."""
    observers: Observers = field(default_factory=Observers)
    more_status: Callable[[], Mapping[str, Any]] = dict
    totals: Totals = field(default_factory=Totals)
    """What all requests have used since the proxy started."""
    record: Callable[[bool], None] | None = None
    """Starts and stops recording, where that can be done. Raises OpenAIError."""


class Endpoint(Protocol):
    """Answers one request. Raises OpenAIError as long as nothing was sent."""

    def __call__(self, service: Service, request: Request, exchange: Exchange) -> Awaitable[None]:
        """Answer."""


# OpenAI's paths have these where others have an id.
NO_IDS = frozenset({"input_tokens"})


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; ``*`` stands for one segment, ``**`` for whatever follows (model ids may hold slashes).

    ``asks_claude``: answering costs tokens, which a key's budget is for. ``for_everybody``: no key is asked for.
    ``background`` is the endpoint for requests that say ``background: true``.
    """

    method: str
    path: str
    endpoint: Endpoint
    asks_claude: bool = False
    for_everybody: bool = False
    background: Endpoint | None = None

    def fits(self, path: str) -> bool:
        """Whether this route's path is ``path``."""
        if self.path.endswith("/**"):
            return path.startswith(self.path[:-2]) and len(path) > len(self.path) - 2
        mine, theirs = self.path.split("/"), path.rstrip("/").split("/")
        if len(mine) != len(theirs) or not all(theirs[1:]):
            return False
        return all(m == t or (m == "*" and t not in NO_IDS) for m, t in zip(mine, theirs, strict=True))


def segment(request: Request, place: int) -> str:
    """Return a segment of a request's path, decoded: 2 is the id in ``/v1/responses/{id}``."""
    return unquote(request.path.split("/")[place + 1])


async def answer(service: Service, route: Route, request: Request, exchange: Exchange) -> None:
    """Answer a request, for whoever may have it answered."""
    client = await service.access.client(request) if service.access is not None and not route.for_everybody else None
    if route.asks_claude and service.agents:
        service = for_agent(service, asked_model(request.body))
    if not route.asks_claude:
        return await route.endpoint(service, request, exchange)

    async def charged(work: Callable[[Engine], Awaitable[None]]) -> None:
        meter = Meter(service.engine)

        async def heard() -> None:
            try:
                with service.observers.around(meter, request.header(FLOW_HEADER)) as engine:
                    await work(engine)
            finally:
                # However it ended, and whoever has left.
                await asyncio.shield(asyncio.ensure_future(count(meter)))

        async def count(meter: Meter) -> None:
            service.totals.add(await meter.messages(), asked_model(request.body))

        if service.access is None or client is None:
            return await heard()
        return await service.access.run(client, meter, request, exchange, heard, claudes_model(service, request))

    if route.background is not None and is_for_the_background(request.body):
        return await route.background(replace(service, charged=charged), request, exchange)

    async def on(engine: Engine) -> None:
        await route.endpoint(replace(service, engine=engine), request, exchange)

    return await charged(on)


def claudes_model(service: Service, request: Request) -> str:
    """Return the Claude model that answers a request. Raises OpenAIError (404) for a name that none can have."""
    return choose_model(asked_model(request.body), service.model_map, service.default_model).model


class _Background(msgspec.Struct):
    background: bool | None = None


def is_for_the_background(body: bytes) -> bool:
    """Whether a request asks to be answered in the background. Whether the rest is sound is not looked at."""
    try:
        return msgspec.json.decode(body, type=_Background).background is True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def for_agent(service: Service, model: str) -> Service:
    """Return the service that answers for a model name: an agent's own, if it is one's. Raises OpenAIError (404)."""
    if not model.startswith(PREFIX):
        return service
    engine = service.agents.get(model)
    if engine is None:
        raise OpenAIError(f"The model '{model}' does not exist", status=404, param="model", code="model_not_found")
    return replace(
        service,
        engine=engine,
        model_map={model: engine.agent.model, **service.model_map},
        show_reasoning=engine.agent.show,
        agent=engine.agent,
    )


def stores_of(service: Service) -> Stores:
    """Return where responses, conversations and sessions are stored. Raises OpenAIError (404) if nothing is stored."""
    if service.stores is None:
        raise OpenAIError("Nothing is stored here.", status=404)
    return service.stores


def refuse_own_tools(service: Service, turn: Turn) -> None:
    """Refuse tools of the app's where an agent answers, which has its own. Raises OpenAIError (400)."""
    if service.agent is not None and turn.tools:
        raise OpenAIError(
            f"The agent {service.agent.model_name} works with tools of its own and takes none of yours.",
            param="tools",
            code="unsupported_parameter",
        )


def find(routes: tuple[Route, ...], method: str, path: str) -> Route:
    """Return what answers. Raises OpenAIError: 404 for an unknown path, 405 for a method that it does not take."""
    fitting = [route for route in routes if route.fits(path)]
    for route in fitting:
        if route.method == method:
            return route
    if fitting:
        allowed = ", ".join(route.method for route in fitting)
        raise OpenAIError(
            f"Not allowed to {method} on {path} (allowed: {allowed})", status=405, code="method_not_allowed"
        )
    shown = path if len(path) <= LONGEST else f"{path[:LONGEST]}…"
    meant = closest_path(path, [route.path for route in routes], lambda other: supports(routes, other))
    raise OpenAIError(
        f"Unknown request URL: {method} {shown}. {f'Did you mean {meant}? ' if meant else ''}{WHAT_THERE_IS}",
        status=404,
        code="unknown_url",
    )


WHAT_THERE_IS = (
    "GET /v1 lists what Understudy answers. Start it with --passthrough to send other paths on to the real host."
)


def supports(routes: tuple[Route, ...], path: str) -> bool:
    """Whether some route has this path, whatever the method."""
    return any(route.fits(path) for route in routes)


def with_version(routes: tuple[Route, ...], path: str) -> str:
    """Return ``/v1`` before a path that some route has only so: the app's base URL lacks it. Else the path as it is."""
    if not path.strip("/") or supports(routes, path):
        return path
    versioned = f"/{VERSION}{path}"
    return versioned if supports(routes, versioned) else path


def app(service: Service, routes: tuple[Route, ...], around: Callable[[Handler], Handler] | None = None) -> Handler:
    """Return the server's handler: find the endpoint, let it answer, render what it raises.

    ``around`` puts something before the endpoints, such as a replay. It gets requests of those who may ask, no others.
    """

    async def route(request: Request, exchange: Exchange) -> None:
        await answer(service, find(routes, request.method, request.path), request, exchange)

    inner = keyed(service, routes, around(route)) if around else route
    service = replace(service, handler=lambda changed: app(changed, routes, around))

    async def handle(request: Request, exchange: Exchange) -> None:
        REQUEST_ID.set(new_request_id())
        try:
            check_token(service, request)
            if service.is_ending():
                raise openai_error("draining", retry_after_s=1)
            await inner(request, exchange)
        except StoreError as failure:
            if exchange.started:
                raise
            error = unreadable(failure)
            await exchange.respond(error.status, error_headers(error), error.body())
        except OpenAIError as error:
            if exchange.started:
                raise
            await exchange.respond(error.status, error_headers(error), error.body())

    return handle


def keyed(service: Service, routes: tuple[Route, ...], handler: Handler) -> Handler:
    """Return a handler that asks for a key first, where keys are asked for: also for paths that no route has."""

    async def handle(request: Request, exchange: Exchange) -> None:
        if service.access is not None and not is_for_everybody(routes, request.method, request.path):
            await service.access.client(request)
        await handler(request, exchange)

    return handle


def is_for_everybody(routes: tuple[Route, ...], method: str, path: str) -> bool:
    """Whether a request needs no key."""
    return any(route.for_everybody for route in routes if route.method == method and route.fits(path))


def unreadable(failure: StoreError) -> OpenAIError:
    """Return what an app is told when what is kept cannot be used."""
    log.warning("what is kept cannot be used: %s", failure)
    return OpenAIError(UNREADABLE, status=503, type="server_error", code="unavailable")


def check_token(service: Service, request: Request) -> None:
    """Let only the proxy in. Raises OpenAIError (403)."""
    # As bytes: compare_digest takes no text beyond ASCII, which a header may hold.
    given = (request.header(TOKEN_HEADER) or "").encode()
    if service.token is not None and not secrets.compare_digest(given, service.token.encode()):
        raise OpenAIError(
            "This port is Understudy's own; requests come through the proxy.", status=403, code="forbidden"
        )


def error_headers(error: OpenAIError) -> list[tuple[str, str]]:
    """Return the headers of an error's answer; its body is ``error.body()``."""
    headers = [JSON, *common_headers()]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    return headers


def common_headers() -> list[tuple[str, str]]:
    """Return what OpenAI's answers always carry. The log knows a request by the same id as its app."""
    return [("x-request-id", REQUEST_ID.get() or new_request_id()), ("openai-version", "2020-10-01")]


def new_request_id() -> str:
    """Return an id as OpenAI has them."""
    return f"req_{secrets.token_hex(16)}"


def render_error(status: int, message: str) -> tuple[list[tuple[str, str]], bytes]:
    """Render what the server itself must refuse, in OpenAI's shape."""
    kind: ErrorType = "server_error" if status >= 500 else "invalid_request_error"
    error = OpenAIError(message, status=status, type=kind, code=CODES.get(status))
    return error_headers(error), error.body()


CODES = {413: "request_too_large", 408: "timeout"}
