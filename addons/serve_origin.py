"""The origin and the engine live as long as the proxy does."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from mitmproxy import ctx

from auth.sources import REHEARSAL, SOURCES, Source, find_source
from engine import Engine
from engine.pool import Pool
from engine.sdk import Spawn
from origin.app import Service, app, render_error
from origin.routes import ROUTES
from origin.server import Server
from rehearsal.server import Rehearsal
from settings import Settings
from wrapping.environment import scrub_overrides

log = logging.getLogger("understudy")

# mitmproxy keeps five connections to one address; 8 × 5 lets 32 streams of one HTTP/2 connection run at once.
PORTS = 8


class ServeOrigin:
    """Start the engine and the origin when the proxy runs, and end them, and every Claude process, when it is done."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.token = secrets.token_urlsafe(32)
        self._settings = settings
        self._environ = environ
        self._stack = contextlib.AsyncExitStack()
        self.rehearsal: Rehearsal | None = None
        self.around: Callable[[Engine], Engine] = lambda engine: engine
        """What the engine is wrapped in before the origin gets it, for those who listen in."""
        self._addresses: asyncio.Future[list[tuple[str, int]]] | None = None

    async def addresses(self) -> list[tuple[str, int]]:
        """Wait until the origin listens and return its addresses. Raises what kept it from starting."""
        return await asyncio.shield(self._future())

    async def running(self) -> None:
        """Start."""
        try:
            self._future().set_result(await self._start())
        except Exception as error:
            self._future().set_exception(error)
            raise

    async def done(self) -> None:
        """Stop."""
        await self._stack.aclose()

    def _future(self) -> asyncio.Future[list[tuple[str, int]]]:
        if self._addresses is None:
            self._addresses = asyncio.get_running_loop().create_future()
        return self._addresses

    async def _start(self) -> list[tuple[str, int]]:
        settings = self._settings
        source, env = find_source(self._environ), scrub_overrides(self._environ, own_addresses())
        if settings.rehearsal:
            self.rehearsal = rehearsal = Rehearsal(delay_s=settings.rehearsal_delay_s)
            await self._stack.enter_async_context(rehearsal)
            source, env = REHEARSAL, env | rehearsal_environment(rehearsal.base_url)
            log.warning("REHEARSAL: answers come from a simulated API at %s; no model is asked", rehearsal.base_url)
        log.info("Claude Code runs with: %s%s", source.kind, f" ({source.variable})" if source.variable else "")
        pool = await self._stack.enter_async_context(
            Pool(
                spawn_for(settings, source, self._environ, env),
                limit=settings.max_processes,
                spare=settings.spare_processes,
                wait_s=settings.wait_s,
                timeout_s=settings.timeout_s,
                idle_timeout_s=settings.idle_timeout_s,
            )
        )
        service = Service(
            engine=self.around(pool),
            model_map=settings.full_model_map(),
            default_model=settings.default_model,
            rehearsal=settings.rehearsal,
            show_reasoning=settings.show_reasoning,
            token=self.token,
        )
        server = Server(
            app(service, ROUTES), ports=PORTS, max_body_bytes=settings.max_body_bytes, render_error=render_error
        )
        return (await self._stack.enter_async_context(server)).addresses


def own_addresses() -> list[tuple[str, int]]:
    """Return where this proxy listens: what Claude's own processes must never be sent through."""
    proxy = ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
    return [(host, port) for host, port, *_ in proxy.listen_addrs()] if proxy else []


def rehearsal_environment(base_url: str) -> dict[str, str]:
    """Return what makes the CLI ask the rehearsal, and keeps every real credential from it."""
    nothing = {source.variable: "" for source in SOURCES if source.variable} | {"ANTHROPIC_CUSTOM_HEADERS": ""}
    return nothing | {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}


def spawn_for(settings: Settings, source: Source, environ: Mapping[str, str], env: Mapping[str, str]) -> Spawn:
    """Return how Claude Code's processes are started: in an empty folder, their state in ours where that can be.

    ``environ`` is what they inherit, ``env`` what is laid over it.
    """
    folder = {}
    if source.own_config_dir and (source is REHEARSAL or "CLAUDE_CONFIG_DIR" not in environ):
        folder["CLAUDE_CONFIG_DIR"] = str(private_folder(settings.data_dir / "claude"))
    cwd = private_folder(settings.data_dir / "empty")
    return Spawn(bare=source.bare, cwd=cwd, env={**env, **folder}, cli_path=settings.cli_path)


def private_folder(path: Path) -> Path:
    """Make a folder that is only ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
