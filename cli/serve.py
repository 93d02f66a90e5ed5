"""`understudy serve`: the proxy in the foreground, for programs started elsewhere."""

import asyncio
import logging
import os

import typer

import settings as configuration
from addons.bound_connections import raise_descriptors
from addons.hosts import is_loopback
from addons.master import options_for, proxy
from addons.redirect_to_origin import MAGIC_HOST
from addons.serve_origin import ServeOrigin
from cli.building import addons_for, authority, say_score
from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.models import log_models
from cli.options import (
    BaseUrl,
    ClientAuth,
    ConfigFile,
    DefaultModel,
    Faults,
    Host,
    Listen,
    LogFile,
    LogLevel,
    Mode,
    ModelMap,
    OnMiss,
    Passthrough,
    RecordFile,
    Rehearsal,
    Replay,
    Speed,
    UpstreamProxy,
    Web,
    WebListen,
)
from cli.run_to_end import run_to_end
from settings import Settings

WEB = "127.0.0.1:8082"
"""Where mitmweb listens if nothing else is said."""


def serve(
    listen: Listen = None,
    base_url: BaseUrl = None,
    web: Web = False,
    web_listen: WebListen = None,
    rehearsal: Rehearsal = None,
    record: RecordFile = None,
    replay: Replay = None,
    model_map: ModelMap = None,
    default_model: DefaultModel = None,
    on_miss: OnMiss = None,
    speed: Speed = None,
    faults: Faults = None,
    host: Host = None,
    passthrough: Passthrough = None,
    mode: Mode = None,
    upstream_proxy: UpstreamProxy = None,
    client_auth: ClientAuth = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
) -> None:
    """Run the proxy for programs that are started elsewhere, until Ctrl-C."""
    loaded = load_settings(
        config,
        listen=listen,
        base_url=base_url,
        mode=mode,
        upstream_proxy=upstream_proxy,
        client_auth=client_auth,
        hosts=host,
        passthrough=passthrough,
        model_map=model_map,
        default_model=default_model,
        rehearsal=rehearsal,
        record=record,
        replay=replay,
        replay_on_miss=on_miss,
        replay_speed=speed,
        replay_faults=faults,
        log_level=log_level,
        log_file=log_file,
    )
    log_to_stderr(loaded.settings.log_level, file=loaded.settings.log_file)
    if web_listen is not None and not web:
        raise fatal("--web-listen can only be used with --web.")
    try:
        where = configuration.parse_address(web_listen or WEB) if web else None
    except ValueError as error:
        raise fatal(f"--web-listen: {error}") from None
    if where is not None:
        if not is_loopback(where[0]):
            raise fatal("--web-listen: what went over the wire is shown on this machine alone: 127.0.0.1:PORT")
        # Which address it has, and which token it asks for, mitmweb says itself.
        logging.getLogger("mitmproxy.tools.web.master").setLevel(logging.INFO)
    log_models(loaded)
    raise typer.Exit(run_to_end(serve_until_ended(loaded.settings, where)))


async def serve_until_ended(settings: Settings, web: tuple[str, int] | None = None) -> int:
    """Run the proxy until the program is told to end; ``web``: where mitmweb shows it."""
    raise_descriptors()
    options = options_for(settings, authority(settings).certificate.parent, os.environ)
    addons = addons_for(settings, shown=web is not None)
    async with proxy(options, addons, web) as addresses:
        at, *more = (configuration.write_address(*address) for address in addresses)
        log.info("the proxy listens at http://%s, for %s", at, ", ".join(settings.hosts))
        for door in more[:1] if settings.base_url else []:
            log.info("the base-URL door: OPENAI_BASE_URL=http://%s/v1", door)
        for mode in settings.mode:
            log.info("another door: %s", mode)
        log.info('programs are sent through it by: eval "$(understudy env --listen %s)"', at)
        log.info("what it is doing: curl --proxy http://%s http://%s/", at, MAGIC_HOST)
        try:
            await asyncio.Event().wait()
        finally:
            # A second signal cuts this short.
            await next(addon for addon in addons if isinstance(addon, ServeOrigin)).drain()
            say_score(addons)
    return 0
