"""`understudy serve`: runs the proxy in the foreground, for programs that the user starts."""

import asyncio
import os
import sys
from typing import Annotated

import typer

import settings as configuration
from addons.bound_connections import raise_descriptors
from addons.doors import check_doors, doors_of
from addons.hosts import is_loopback
from addons.master import options_for, proxy
from addons.redirect_to_origin import MAGIC_HOST
from cli.building import program_for, say_score
from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.models import log_models
from cli.options import Given, with_settings
from cli.run_to_end import run_to_end
from cli.wrapped import authority
from settings import Settings, Sourced

WEB = "127.0.0.1:8082"
"""The default address of mitmweb."""

DEFAULT_LISTEN = configuration.write_address(*Settings().listen)
"""The default address to which `understudy env` sends programs."""


@with_settings(
    *("listen", "base_url", "rehearsal", "record", "replay", "model_map", "default_model", "replay_on_miss"),
    *("replay_speed", "replay_faults", "hosts", "passthrough", "mode", "upstream_proxy", "client_auth"),
    *("log_level", "log_file"),
)
def serve(
    given: Given,
    web: Annotated[
        bool, typer.Option("--web", help="Also start mitmweb, which shows the exchanges in a browser.")
    ] = False,
    web_listen: Annotated[
        str | None,
        typer.Option("--web-listen", metavar="HOST:PORT", help="The address of mitmweb. Default: 127.0.0.1:8082."),
    ] = None,
) -> None:
    """Run the proxy until Ctrl-C, for programs that you start yourself."""
    loaded = load_settings(given.config, **given.flags)
    log_to_stderr(loaded.settings.log_level, file=loaded.settings.log_file)
    if web_listen is not None and not web:
        raise fatal("--web-listen can only be used with --web.")
    try:
        where = configuration.parse_address(web_listen or WEB) if web else None
    except ValueError as error:
        raise fatal(f"--web-listen: {error}") from None
    if where is not None and not is_loopback(where[0]):
        raise fatal("--web-listen: mitmweb shows recorded traffic, so it must listen on loopback: 127.0.0.1:PORT")
    raise typer.Exit(run_to_end(serve_until_ended(loaded, where)))


async def serve_until_ended(loaded: Sourced, web: tuple[str, int] | None = None) -> int:
    """Run the proxy until the program is stopped. ``web`` is the address of mitmweb (None: without mitmweb)."""
    settings = loaded.settings
    raise_descriptors()
    options = options_for(settings, authority(settings).certificate.parent, os.environ)
    # Check the ports before anything is opened or logged. Then the error about a used port is the only line.
    check_doors(doors_of(options, web))
    program = program_for(settings, shown=web is not None)
    async with proxy(options, program.addons, web, say_web=_say_web) as addresses:
        _say_addresses(settings, [configuration.write_address(*address) for address in addresses])
        log_models(loaded)
        try:
            await asyncio.Event().wait()
        finally:
            # A second signal ends this wait.
            await program.serve.drain()
            say_score(program, settings)
    return 0


def _say_web(url: str) -> None:
    """Print the URL of mitmweb. It contains a token, which the log would mask, but the user needs it."""
    print(f"mitmweb: {url}", file=sys.stderr, flush=True)


def _say_addresses(settings: Settings, addresses: list[str]) -> None:
    """Log the addresses, and how to send programs there.

    Each URL stands at the end of its line, because terminals would treat text after a URL as a part of it.
    """
    at, *more = addresses
    log.info("answering for %s; the proxy listens at http://%s", ", ".join(settings.hosts), at)
    for door in more[:1] if settings.base_url else []:
        log.info("the base-URL door: OPENAI_BASE_URL=http://%s/v1", door)
    for mode in settings.mode:
        log.info("another door: %s", mode)
    listen = "" if at == DEFAULT_LISTEN else f" --listen {at}"
    log.info('in the program\'s shell: eval "$(understudy env%s)"', listen)
    log.info("its state: curl --proxy http://%s http://%s/", at, MAGIC_HOST)
