"""The origin and the engine live as long as the proxy does."""

import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from addons.refuse_loops import own_addresses
from api.access import Access
from api.app import Service, app, render_error
from api.endpoints.status import RECORD_PATH, STATUS_PATH
from api.http.server import Server
from api.images import Images
from api.meter import Totals
from api.replay import Expiry, Failures, NoEngine, Pace, Player, ReplayError, replaying
from api.routes import ROUTES
from api.sealing import Sealer, derived_key
from auth.credentials.sources import (
    REHEARSAL,
    SOURCES,
    Source,
    SourceError,
    api_url,
    are_surely_missing,
    cli_settings,
    environment,
    find_source,
    not_inherited,
)
from auth.keys.budgets import Budgets
from auth.keys.clients import Clients
from cassettes.redact.redact import Redactor
from cassettes.replay.faults import Faults, FaultsError
from cassettes.replay.match import IGNORED_PATTERNS, Rules
from engine import Engine
from engine.agent_engine import AgentEngine
from engine.cost_check import CostCheck
from engine.errors import NO_CREDENTIALS
from engine.observers import Observers
from engine.pool import Pool
from engine.reach import Reach, reach_of
from engine.retry import Retrying
from engine.sdk import Spawn
from launch.environment import scrub_overrides
from rehearsal.server import Rehearsal
from settings import Settings
from storage.database import Database, StoreError
from storage.private_files import make_private_folder
from storage.retention import Limits
from storage.stores import Stores

log = logging.getLogger("understudy")

# What keeps us from starting and is the person's to mend: told in one line, without where in our code it came up.
FOR_A_PERSON = (SourceError, StoreError, OSError)

# mitmproxy keeps five connections to one address; 8 × 5 lets 32 streams of one HTTP/2 connection run at once.
PORTS = 8


class ServeOrigin:
    """Start the engine and the origin when the proxy runs, and end them, and every Claude process, when it is done.

    Raises ReplayError if there is to be a cassette that answers, and it cannot be played.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.token = secrets.token_urlsafe(32)
        self._settings = settings
        self._environ = environ
        self._stack = contextlib.AsyncExitStack()
        self.rehearsal: Rehearsal | None = None
        self.around: Callable[[Engine], Engine] = lambda engine: engine
        """What the engine is wrapped in before the origin gets it, for those who listen in."""
        self._addresses: asyncio.Future[list[tuple[str, int]]] | None = None
        self._server: Server | None = None
        self._access: Access | None = None
        self._shelves: Stores | None = None
        self._ending = False
        self.in_the_background = False
        """Whether the start is not waited for: mitmproxy has loaded us as a script."""
        self._starting: asyncio.Task[None] | None = None
        self._agents: dict[str, AgentEngine] = {}
        self._source: Source | None = None
        self.observers = Observers()
        self.totals = Totals()
        self.player = player_of(settings) if settings.replay else None
        self.more_status: Callable[[], Mapping[str, Any]] = dict
        self.record: Callable[[bool], None] | None = None
        """What starts and stops recording, for those who ask for it over the wire."""
        self.before_done: Callable[[], Awaitable[None]] | None = None
        """What is to happen before the engine ends: recordings wait for what their turns used."""

    async def addresses(self) -> list[tuple[str, int]]:
        """Wait until the origin listens and return its addresses. Raises what kept it from starting."""
        return await asyncio.shield(self._future())

    async def access(self) -> Access | None:
        """Wait until the origin listens and return who may ask; None: everyone may."""
        await self.addresses()
        return self._access

    async def running(self) -> None:
        """Start.

        As a script this comes before some of mitmproxy's own addons are ready, while it listens already; then nothing
        is waited for here, and whatever needs the origin waits for it.
        """
        if self.in_the_background:
            self._starting = asyncio.create_task(self._run(), name="start the origin")
        else:
            await self._run()

    async def _run(self) -> None:
        try:
            self._future().set_result(await self._start())
        except Exception as error:
            self._future().set_exception(error)
            if not (self.in_the_background or isinstance(error, FOR_A_PERSON)):
                raise
            log.error("Understudy cannot start: %s", error)  # noqa: TRY400 - one line, for a person

    async def done(self) -> None:
        """Stop."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self.before_done is not None:
            await self.before_done()
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuse what is new and give what runs its time to end."""
        self._ending = True
        if self._server is not None:
            self._server.say_ending()
        running = {
            *(self._server.tasks if self._server else ()),
            *(self._shelves.tasks.values() if self._shelves else ()),
        }
        if running:
            log.info("%d answers are still running; they have %g s", len(running), self._settings.drain_s)
            await asyncio.wait(running, timeout=self._settings.drain_s)

    def _future(self) -> asyncio.Future[list[tuple[str, int]]]:
        if self._addresses is None:
            self._addresses = asyncio.get_running_loop().create_future()
        return self._addresses

    async def _start(self) -> list[tuple[str, int]]:
        settings = self._settings
        player = self.player
        live = player is None or settings.replay_on_miss != "fail"
        live_too = live or settings.replay_on_expired == "record"
        engine = await self._engine() if live_too else NoEngine()
        database = await asyncio.to_thread(Database.open, settings.store_place())
        self._stack.callback(database.close)
        self._shelves = stores = await self._stack.enter_async_context(stores_on(database, settings))
        if settings.client_auth:
            budgets = await self._stack.enter_async_context(Budgets(database, lease_s=settings.store_lease_s))
            self._access = Access(Clients(database), budgets, unknown_price_as=settings.unknown_price_as)
        images = Images(
            max_megapixels=settings.image_max_megapixels,
            processes=settings.image_processes,
            memory_mb=settings.image_memory_mb,
            max_waiting=settings.max_waiting,
            wait_s=settings.wait_s,
        )
        service = Service(
            images=await self._stack.enter_async_context(images),
            engine=self.around(engine),
            model_map=settings.full_model_map(),
            default_model=settings.default_model,
            rehearsal=settings.rehearsal,
            show_reasoning=settings.show_reasoning,
            web_search=settings.web_search,
            mcp_servers=settings.mcp_servers,
            token=self.token,
            max_body_bytes=settings.max_body_bytes,
            keep_alive_s=settings.keep_alive_s,
            is_ending=lambda: self._ending,
            access=self._access,
            # Proxies that share a store share its key, and must open what another has sealed.
            sealer=Sealer(*map(derived_key, settings.store_key), sealing_key(settings.data_dir)),
            agents=self._agents,
            stores=stores,
            about_auth=self._about_auth,
            observers=self.observers,
            totals=self.totals,
            more_status=self.more_status,
            record=self.record,
        )
        before = None if player is None else functools.partial(replaying, player, live=live, always_live=NOT_RECORDED)
        self._server = server = Server(
            app(service, ROUTES, before), ports=PORTS, max_body_bytes=settings.max_body_bytes, render_error=render_error
        )
        return (await self._stack.enter_async_context(server)).addresses

    def _about_auth(self) -> dict[str, Any]:
        """Return which kind of credentials Claude Code gets, and nothing of them."""
        if self._source is None:
            return {"provider": None}
        # Only a turn can tell whether they work; the CLI's own word is not to be believed (F97 to F99).
        return {"provider": self._source.kind, "variable": self._source.variable, "verified": False}

    async def _engine(self) -> Engine:
        settings = self._settings
        helper = settings.api_key_helper
        source = find_source(self._environ, forced=settings.provider, api_key_helper=helper)
        env = {**scrub_overrides(self._environ, own_addresses()), **environment(source, self._environ)}
        if settings.upstream_proxy:
            env |= proxy_variables(settings.upstream_proxy, self._environ)
        if settings.rehearsal:
            self.rehearsal = rehearsal = Rehearsal(delay_s=settings.rehearsal_delay_s)
            await self._stack.enter_async_context(rehearsal)
            source, env = REHEARSAL, env | rehearsal_environment(rehearsal.base_url, self._environ)
            log.warning("REHEARSAL: no model is asked; answers come from a simulated API at %s", rehearsal.base_url)
        self._source = source
        is_nobody = are_surely_missing(self._environ, forced=settings.provider, api_key_helper=helper)
        if not settings.rehearsal and is_nobody:
            log.warning("%s", NO_CREDENTIALS)
        elif not settings.rehearsal:
            log.info("Claude Code runs with: %s%s", source.kind, f" ({source.variable})" if source.variable else "")
        # Without keys all come from this machine, and nobody else is kept waiting.
        kept = settings.kept_processes if settings.client_auth else 0
        cost_check = CostCheck()
        reach = reach_for(source, {**self._environ, **env})
        pool = await self._stack.enter_async_context(
            Pool(
                spawn_for(settings, source, self._environ, env),
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
        for agent in settings.agent.values():
            self._agents[agent.model_name] = await self._stack.enter_async_context(
                AgentEngine(
                    agent,
                    spawn_for(settings, source, self._environ, env),
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
        return Retrying(pool, retries=settings.retries, timeout_s=settings.timeout_s, reach=reach)


NOT_RECORDED = ("/v1/models", "/health", "/v1/auth/status", STATUS_PATH, RECORD_PATH)
"""What a replay answers by itself where the recording has it not: it asks no Claude."""


def player_of(settings: Settings) -> Player:
    """Open the cassette that answers. Raises ReplayError."""
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
    # Where Claude can be asked, a failure is no answer. Where it cannot, one is better than none, and says what it is.
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
    """Return what is kept in a database, within the settings' limits. Raises EncryptionKeyError."""
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
        wait_s=settings.session_wait_s,
        lease_s=settings.store_lease_s,
    )


def proxy_variables(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what sends Claude Code's own traffic through another proxy, but for what is on this machine."""
    return dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), url) | none_for_loopback(environ)


def none_for_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what has Claude Code reach this machine without any proxy."""
    here = ",".join(filter(None, ["localhost,127.0.0.1,::1", environ.get("NO_PROXY") or environ.get("no_proxy")]))
    return {"NO_PROXY": here, "no_proxy": here}


def reach_for(source: Source, environ: Mapping[str, str]) -> Reach:
    """Return where the API is that Claude Code asks with these credentials and this environment."""
    url = api_url(source, environ)
    return Reach(source.kind) if url is None else reach_of(url, environ)


def rehearsal_environment(base_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what makes the CLI ask the rehearsal, and keeps every real credential from it."""
    nothing = {source.variable: "" for source in SOURCES if source.variable} | {"ANTHROPIC_CUSTOM_HEADERS": ""}
    api = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
    return nothing | api | none_for_loopback(environ)


def spawn_for(settings: Settings, source: Source, environ: Mapping[str, str], env: Mapping[str, str]) -> Spawn:
    """Return how Claude Code's processes are started: in an empty folder, their state in ours where that can be.

    ``environ`` is what they inherit from, ``env`` what is laid over it.
    """
    folder = {}
    if source.own_config_dir and (source is REHEARSAL or "CLAUDE_CONFIG_DIR" not in environ):
        folder["CLAUDE_CONFIG_DIR"] = str(private_folder(settings.data_dir / "claude"))
    cwd = private_folder(settings.data_dir / "empty")
    return Spawn(
        bare=source.bare,
        cwd=cwd,
        env={**env, **folder},
        cli_path=settings.cli_path,
        settings=settings_file(settings.data_dir, cli_settings(source, settings.api_key_helper)),
        inherits=(*source.inherits, *settings.claude_env),
        not_inherited=not_inherited(source),
    )


def settings_file(data_dir: Path, content: Mapping[str, str]) -> Path | None:
    """Write Claude Code's settings where only we can read them; on its command line `ps` would show them."""
    if not content:
        return None
    path = private_folder(data_dir / "claude") / "understudy-settings.json"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def sealing_key(data_dir: Path) -> bytes:
    """Return the key that reasoning is sealed with, made on first use; only we can read it."""
    path = private_folder(data_dir) / "reasoning.key"
    if not path.exists():
        put_new(path, Fernet.generate_key())
    return path.read_bytes()


def put_new(path: Path, content: bytes) -> None:
    """Write a file that only we can read, unless there is one.

    It is whole from the start, and one that another proxy has made in the same moment stays as it is.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            # Windows renames onto nothing that is there; elsewhere a rename would replace it.
            (os.rename if os.name == "nt" else os.link)(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def private_folder(path: Path) -> Path:
    """Make a folder that is only ours."""
    make_private_folder(path)
    return path
