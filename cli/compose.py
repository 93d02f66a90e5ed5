"""Builds the program from its settings. This is the one module that knows every part.

:func:`compose` makes all parts and connects them. Nothing is changed from outside afterwards. The addons begin to work
when mitmproxy runs them. Then :func:`origin` is entered, which starts the parts that need an event loop.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from addons.bound_connections import BoundConnections
from addons.bound_requests import BoundRequests
from addons.count_requests import CountRequests, Requests
from addons.decrypt_only_ours import DecryptOnlyOurs
from addons.explain_doors import ExplainDoors, ExplainOwnAddress
from addons.guard_base_url import GuardBaseUrl
from addons.guard_own_page import GuardOwnPage
from addons.guard_tunnels import GuardTunnels
from addons.log_exchanges import LogExchanges
from addons.login_upstream import LoginUpstream
from addons.name_in_certificate import NameInCertificate
from addons.proxy_login import ProxyLogin
from addons.record import Record
from addons.record_sockets import RecordSockets
from addons.redirect_to_origin import RedirectToOrigin
from addons.refuse_loops import RefuseLoops, own_addresses
from addons.serve_origin import ServeOrigin
from addons.stream_events import StreamEvents
from addons.trust_hint import TrustHint
from api.access import Access
from api.app import App, Parts
from api.batch_runner import BatchRunner
from api.endpoints.status import RECORD_PATH, STATUS_PATH
from api.failures import render_error
from api.http.server import Server
from api.images import Images
from api.meter import Totals
from api.parts import CountTokens, Gate, Status, Turns
from api.replay import Expiry, Failures, NoEngine, Pace, Player, ReplayError, replaying
from api.routes import ROUTES
from api.sealing import Sealer, derived_key, sealing_key
from auth.credentials.counting import counter_for
from auth.credentials.sources import (
    REHEARSAL,
    Source,
    SourceError,
    are_surely_missing,
    environment,
    find_source,
)
from auth.credentials.spawn import proxy_variables, reach_for, rehearsal_environment, spawn_for
from auth.keys.budgets import Budgets
from auth.keys.clients import Clients
from cassettes.redact.redact import Redactor
from cassettes.replay.faults import Faults, FaultsError
from cassettes.replay.match import IGNORED_PATTERNS, Rules
from cli.own_version import own_version
from engine import Engine
from engine.cost_check import CostCheck
from engine.errors import NO_CREDENTIALS
from engine.late_imports import import_late
from engine.observers import Observers
from engine.pool import Pool
from engine.renaming import Renaming
from engine.retry import Retrying
from launch.environment import scrub_overrides
from rehearsal.server import Rehearsal
from settings import Settings
from storage.database import Database, StoreError
from storage.files import Quota
from storage.retention import Limits
from storage.stores import Stores

if TYPE_CHECKING:
    from engine.agent_engine import AgentEngine

log = logging.getLogger("understudy")

FOR_A_PERSON = (SourceError, StoreError, OSError)
"""Errors at the start that the user can fix. They are shown in one line, without a traceback."""

PORTS = 8
"""The number of ports of the local API server. For each client connection, mitmproxy opens at most five connections to
one address. With 8 × 5 connections, 32 streams of one HTTP/2 connection can run at once."""

NOT_RECORDED = ("/v1/models", "/health", "/v1/auth/status", STATUS_PATH, RECORD_PATH)
"""The paths that a replay answers by itself if they are not in the cassette. They do not need Claude."""


@dataclass(frozen=True, slots=True)
class Program:
    """The proxy's addons in their order, and the parts that the commands use."""

    addons: tuple[Any, ...]
    serve: ServeOrigin
    record: Record
    requests: Requests
    """The number of requests so far."""
    totals: Totals
    """The tokens and the cost of these requests."""
    player: Player | None
    """Answers from a cassette. None: there is no replay."""
    rehearsal: Rehearsal | None
    """The simulated API that Claude Code asks. None: it asks the real one."""


@dataclass(frozen=True, slots=True)
class Made:
    """The parts that are made before the proxy runs. The addons and the origin share them."""

    settings: Settings
    environ: Mapping[str, str]
    token: str
    player: Player | None
    rehearsal: Rehearsal | None
    around: Callable[[Engine], Engine]
    record: Record
    log: LogExchanges
    observers: Observers
    totals: Totals = field(default_factory=Totals)


def compose(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    shown: bool = False,
    in_the_background: bool = False,
    around: Callable[[Engine], Engine] = lambda engine: engine,
) -> Program:
    """Build the program.

    ``environ`` is the environment that ``claude`` processes can inherit from. ``shown``: one of mitmproxy's programs
    shows the flows. ``in_the_background``: mitmproxy does not wait for the start (:class:`ServeOrigin`). ``around``
    wraps the engine, for example to observe its events.
    Raises ReplayError if the cassette to replay cannot be read.
    """
    observers = Observers()
    made = Made(
        settings=settings,
        environ=environ,
        token=secrets.token_urlsafe(32),
        player=player_of(settings) if settings.replay else None,
        rehearsal=Rehearsal(delay_s=settings.rehearsal_delay_s) if settings.rehearsal else None,
        around=around,
        record=Record(settings, observers),
        log=LogExchanges(),
        observers=observers,
    )
    serve = ServeOrigin(
        origin(made),
        token=made.token,
        drain_s=settings.drain_s,
        # A recording waits for the usage of its turns. The engine reports it, so it must still run.
        before_done=made.record.settle,
        expected=FOR_A_PERSON,
        in_the_background=in_the_background,
    )
    count = CountRequests(settings.hosts)
    return Program(
        addons=addons_of(made, serve, count, shown=shown),
        serve=serve,
        record=made.record,
        requests=count.requests,
        totals=made.totals,
        player=made.player,
        rehearsal=made.rehearsal,
    )


def addons_of(made: Made, serve: ServeOrigin, count: CountRequests, *, shown: bool) -> tuple[Any, ...]:
    """Return the addons in their order.

    The order matters for three reasons. The origin must listen before a flow is sent to it. A flow's real address must
    be restored before any other addon reads the finished flow. A connection's bytes wait between the first addon that
    sees the head of a request and the addon that accepts or refuses it.
    """
    settings = made.settings
    connections = BoundConnections(settings)
    redirect = RedirectToOrigin(settings, serve)
    keys: list[Any] = []
    if settings.client_auth:
        login = ProxyLogin(serve.access, connections.is_known)
        keys = [
            login,
            GuardTunnels(settings, redirect, serve.access, key_of=login.key_of, is_tunnel=connections.is_tunnel),
        ]
    return (
        DecryptOnlyOurs(settings.hosts),
        NameInCertificate(settings.hosts),
        connections,
        serve,
        ExplainOwnAddress(settings),
        *keys,
        RefuseLoops(settings),
        GuardBaseUrl(settings),
        GuardOwnPage(settings),
        ExplainDoors(settings),
        redirect,
        BoundRequests(settings, redirect, serve.access, known=connections.is_known, judged=connections.was_judged),
        *([LoginUpstream(settings.upstream_proxy)] if settings.upstream_proxy else []),
        StreamEvents(),
        made.record,
        RecordSockets(made.record, made.observers),
        *([shown_in_mitmproxy(made.observers)] if shown else []),
        TrustHint(settings.hosts),
        count,
        made.log,
    )


def shown_in_mitmproxy(observers: Observers) -> Any:
    """Return the addon for mitmproxy's own programs."""
    # Not at the top of the file: it imports mitmproxy's content views, and nothing else here uses them.
    from addons.show_in_mitmproxy import ShowInMitmproxy

    return ShowInMitmproxy(observers)


@dataclass(frozen=True, slots=True)
class RunningOrigin:
    """The parts of the listening origin that :class:`ServeOrigin` needs."""

    server: Server
    stores: Stores
    runner: BatchRunner
    access: Access | None
    is_ending: asyncio.Event

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """The addresses that it listens on."""
        return self.server.addresses

    def refuse_new(self) -> Collection[asyncio.Task[Any]]:
        """Refuse new requests from now on. Return the tasks of the requests that are still being answered."""
        self.is_ending.set()
        self.server.say_ending()
        return {*self.server.tasks, *self.stores.tasks.values(), *self.runner.tasks}


@contextlib.asynccontextmanager
async def origin(made: Made) -> AsyncIterator[RunningOrigin]:
    """Start the engine, the store and the server, and end them in the opposite order."""
    settings, player = made.settings, made.player
    is_live = player is None or settings.replay_on_miss != "fail"
    is_ending = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        claude = Claude(NoEngine())
        if is_live or settings.replay_on_expired == "record":
            claude = await stack.enter_async_context(claude_code(made))
        database = await asyncio.to_thread(Database.open, settings.store_place())
        stack.callback(database.close)
        stores = await stack.enter_async_context(stores_on(database, settings))
        access = None
        if settings.client_auth:
            budgets = await stack.enter_async_context(Budgets(database, lease_s=settings.store_lease_s))
            access = Access(Clients(database), budgets, unknown_price_as=settings.unknown_price_as)
        images = Images(
            max_megapixels=settings.image_max_megapixels,
            processes=settings.image_processes,
            memory_mb=settings.image_memory_mb,
            max_waiting=settings.max_waiting,
            wait_s=settings.wait_s,
        )
        turns = Turns(
            engine=made.around(claude.engine),
            model_map=settings.full_model_map(),
            default_model=settings.default_model,
            images=await stack.enter_async_context(images),
            stores=stores,
            show_reasoning=settings.show_reasoning,
            web_search=settings.web_search,
            rehearsal=settings.rehearsal,
            keep_alive_s=settings.keep_alive_s,
            version=own_version(),
            count_tokens=claude.count_tokens,
        )
        status = Status(
            engine=turns.engine,
            rehearsal=settings.rehearsal,
            totals=made.totals,
            credentials=about_auth(claude.source),
            more=lambda: {**made.log.status(), **made.record.status()},
            # A recording contains the requests of all clients. A key gives access to Claude, but not to these.
            record=None if settings.client_auth else made.record.switch,
        )
        app = App(
            Parts(
                turns=turns,
                status=status,
                gate=Gate(made.token, is_ending.is_set, access),
                agents=claude.agents,
                # Proxies that share a store share its key. Each must be able to decrypt what another has encrypted.
                sealer=Sealer(*map(derived_key, settings.store_key), sealing_key(settings.data_dir)),
                mcp_servers=settings.mcp_servers,
                observers=made.observers,
                max_message_bytes=settings.max_body_bytes,
                max_bodies_bytes=settings.max_bodies_mb * 1024 * 1024,
                replay=None if player is None else partial(replaying, player, live=is_live, always_live=NOT_RECORDED),
            ),
            ROUTES,
        )
        # A cassette that is played alone has no engine for lines.
        concurrency = settings.batch_concurrency if is_live else 0
        runner = BatchRunner(app, stores, concurrency=concurrency, is_ending=is_ending.is_set)
        await stack.enter_async_context(runner)
        server = Server(app, ports=PORTS, max_body_bytes=settings.max_body_bytes, render_error=render_error)
        yield RunningOrigin(await stack.enter_async_context(server), stores, runner, access, is_ending)


def about_auth(source: Source | None) -> dict[str, Any]:
    """Return the kind of Claude Code's credentials, without any secret."""
    if source is None:
        return {"provider": None}
    # Only a turn shows whether they work. The CLI's own status is not reliable (F97 to F99).
    return {"provider": source.kind, "variable": source.variable, "verified": False}


@dataclass(frozen=True, slots=True)
class Claude:
    """The engine, the agents by their model names, and the source of their credentials (None: there are none).

    ``count_tokens`` counts tokens with the same credentials. None if they may not do that.
    """

    engine: Engine
    agents: Mapping[str, "AgentEngine"] = field(default_factory=dict)
    source: Source | None = None
    count_tokens: CountTokens | None = None


@contextlib.asynccontextmanager
async def claude_code(made: Made) -> AsyncIterator[Claude]:
    """Start the engine and the agents, and end all their processes afterwards. Raises SourceError."""
    settings, environ = made.settings, made.environ
    helper = settings.api_key_helper
    source = find_source(environ, forced=settings.provider, api_key_helper=helper)
    env = {**scrub_overrides(environ, own_addresses()), **environment(source, environ)}
    if settings.upstream_proxy:
        env |= proxy_variables(settings.upstream_proxy, environ)
    async with contextlib.AsyncExitStack() as stack:
        if made.rehearsal is not None:
            await stack.enter_async_context(made.rehearsal)
            url = made.rehearsal.base_url
            source, env = REHEARSAL, env | rehearsal_environment(url, environ)
            log.warning("REHEARSAL: no model is asked; answers come from a simulated API at %s", url)
        elif are_surely_missing(environ, forced=settings.provider, api_key_helper=helper):
            log.warning("%s", NO_CREDENTIALS)
        else:
            log.info("Claude Code runs with: %s%s", source.kind, f" ({source.variable})" if source.variable else "")
        # Reserved processes protect one key from another. Without keys all requests come from this machine.
        kept = settings.kept_processes if settings.client_auth else 0
        cost_check = CostCheck()
        reach = reach_for(source, {**environ, **env})
        pool = await stack.enter_async_context(
            Pool(
                spawn_for(settings, source, environ, env),
                limit=settings.max_processes,
                spare=settings.spare_processes,
                max_waiting=settings.max_waiting,
                wait_s=settings.wait_s,
                timeout_s=settings.timeout_s,
                first_token_timeout_s=settings.first_token_timeout_s,
                idle_timeout_s=settings.idle_timeout_s,
                keep_s=settings.keep_idle_s,
                memory_bytes=settings.max_memory_mb * 1024 * 1024 or None,
                kept=kept,
                cost_check=cost_check,
            )
        )
        agents: dict[str, AgentEngine] = {}
        for agent in settings.agent.values():
            # Imported here because it imports the SDK. Without agents the SDK is imported later (engine/pool.py).
            await import_late("engine.agent_engine")
            from engine import agent_engine

            agents[agent.model_name] = await stack.enter_async_context(
                agent_engine.AgentEngine(
                    agent,
                    spawn_for(settings, source, environ, env),
                    limit=settings.max_processes,
                    max_waiting=settings.max_waiting,
                    wait_s=settings.wait_s,
                    timeout_s=settings.timeout_s,
                    kept=kept,
                    cost_check=cost_check,
                    reach=reach,
                )
            )
            log.info("agent %s: %s in %s", agent.model_name, ", ".join(agent.tools) or "no tools", agent.cwd)
        engine = Retrying(Renaming(pool), retries=settings.retries, timeout_s=settings.timeout_s, reach=reach)
        yield Claude(engine, agents, source, counter_for(source, {**environ, **env}))


def player_of(settings: Settings) -> Player:
    """Open the cassette to replay. Raises ReplayError."""
    assert settings.replay is not None  # noqa: S101 - that is what it is called for
    if settings.replay_on_miss == "fail" and not settings.replay.exists():
        raise ReplayError(f"there is no cassette {settings.replay} to replay")
    rules = Rules(
        paths=settings.replay_ignore_paths,
        patterns={**IGNORED_PATTERNS, **dict.fromkeys(settings.replay_ignore_patterns, "<ignored>")},
        reuse=not settings.replay_once,
        only=settings.replay_only,
        in_order=settings.replay_in_order,
    )
    redactor = Redactor(
        headers=settings.record_redact_headers,
        json_paths=settings.record_redact_paths,
        patterns=settings.record_redact_patterns,
    )
    limit = settings.replay_expires_in
    expiry = None if limit is None else Expiry(limit, settings.replay_on_expired)
    # If Claude can be asked, do not replay a recorded failure. If not, a recorded failure is better than no answer.
    failures: Failures = "last" if settings.replay_on_miss == "fail" else "never"
    try:
        return Player.of(
            settings.replay,
            failures="as_recorded" if settings.replay_keep_errors else failures,
            rules=rules,
            redactor=redactor,
            pace=Pace(speed=settings.replay_speed or None, recut=settings.replay_recut),
            faults=Faults.read(settings.replay_faults) if settings.replay_faults else None,
            expiry=expiry,
        )
    except (OSError, FaultsError) as error:
        raise ReplayError(str(error)) from error


def stores_on(database: Database, settings: Settings) -> Stores:
    """Return the stores of a database, with the limits of the settings. Raises EncryptionKeyError."""
    days = settings.store_days * 86400 or None
    limits = Limits(
        responses_s=days,
        chat_completions_s=days,
        sessions_idle_s=settings.session_idle_s or None,
        max_bytes=settings.store_max_mb * 1024 * 1024 or None,
    )
    return Stores.on(
        database,
        keys=settings.store_key,
        limits=limits,
        quota=Quota(settings.files_max_mb * 1024 * 1024 or None, settings.files_total_mb * 1024 * 1024 or None),
        wait_s=settings.session_wait_s,
        lease_s=settings.store_lease_s,
    )
