"""The command line: parses, builds, runs. Also an addon script: `mitmweb -s run_proxy.py`."""

import asyncio
import contextlib
import dataclasses
import importlib.util
import io
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

import settings as configuration
from addons import default_addons
from addons.bound_connections import raise_descriptors
from addons.decrypt_only_ours import DecryptOnlyOurs
from addons.fold_lines import FoldLines
from addons.hosts import is_loopback
from addons.master import CannotListenError, options_for, proxy
from addons.name_in_certificate import NameInCertificate
from addons.record import Record
from addons.redirect_to_origin import MAGIC_HOST
from addons.serve_origin import ServeOrigin, spawn_for
from auth.auth_command import auth_command
from auth.authority import FOLDER, Authority, AuthorityError
from auth.ca_command import ca_command
from auth.keys_command import keys_command
from auth.redact import RedactSecrets
from auth.sources import Source, environment
from convert.commands import add_convert_command
from demo.show import show
from doctor.doctor_command import add_doctor_command
from doctor.runtime import Watcher
from engine.sdk import Spawn
from looking.commands import add_looking_commands
from origin.replay import ReplayError
from rehearsal.server import serve_forever
from rerun.commands import add_rerun_commands
from settings import Settings, SettingsError, Sourced
from store.database import Database
from tape.record import TapeError
from wrapping.child import run_command
from wrapping.environment import WrappedEnvironment, environment_for, render
from wrapping.trust import write_trust_files

LOGGED = ("understudy", "addons", "auth", "engine", "origin", "rehearsal", "remembering", "tape")
"""Whose words `--log-level` is about; of all others only warnings are shown."""

log = logging.getLogger("understudy")
errors = Console(stderr=True)
cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Programs that speak the OpenAI API, unchanged, answered by Claude through Claude Code.",
)

Host = Annotated[list[str] | None, typer.Option(help="One more host to stand in for; wildcards allowed.")]
Passthrough = Annotated[
    bool | None, typer.Option("--passthrough", help="Send unsupported paths on to the real host, with the app's key.")
]
ModelMap = Annotated[
    list[str] | None, typer.Option(help="PATTERN=MODEL: who answers for which model name, e.g. 'gpt-4*=opus'.")
]
DefaultModel = Annotated[str | None, typer.Option(help="Who answers for a name that nothing maps.")]
Rehearsal = Annotated[
    bool | None, typer.Option("--rehearsal", help="Ask a simulated API; needs no account. Answers say so.")
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Another configuration file than understudy.toml.")]
Listen = Annotated[str | None, typer.Option(help="HOST:PORT of the proxy. Port 0: one that is free.")]
ClientAuth = Annotated[
    bool | None, typer.Option("--client-auth", help="Ask for a key at every door (`understudy keys make`).")
]
RecordFile = Annotated[Path | None, typer.Option("--record", help="Record every exchange into this cassette (.jsonl).")]
Replay = Annotated[Path | None, typer.Option("--replay", help="Answer from this cassette; no Claude, no credentials.")]
OnMiss = Annotated[
    str | None, typer.Option(help="What no recorded request is like: fail (409), live, or record (live, and kept).")
]
Speed = Annotated[float | None, typer.Option(help="Replay so many times faster than recorded; 0: at once.")]
Faults = Annotated[Path | None, typer.Option(help="A file of faults to replay with the answers (docs/faults.md).")]
Mode = Annotated[
    list[str] | None,
    typer.Option(help="One more door, as mitmproxy names them: socks5@1080, local:curl, transparent, wireguard."),
]
Web = Annotated[
    bool, typer.Option("--web", help="Show what happens in the browser: mitmweb, with exchanges as conversations.")
]
WebListen = Annotated[str, typer.Option("--web-listen", help="HOST:PORT of mitmweb.")]
UpstreamProxy = Annotated[
    str | None, typer.Option(help="http://[user:password@]HOST:PORT that our own traffic must go through.")
]
BaseUrl = Annotated[str | None, typer.Option(help="HOST:PORT of a door for apps that can set OPENAI_BASE_URL.")]


# Not called `load`: as an addon script this module's functions are hooks, and that is mitmproxy's name for one.
def load_settings(config: Path | None, **flags: Any) -> Sourced:
    """Put the settings together; what is wrong with them ends the program with one line."""
    try:
        lists = {name: ",".join(value) for name, value in flags.items() if isinstance(value, list)}
        return configuration.load({**flags, **lists}, os.environ, configuration.read_file(config))
    except SettingsError as error:
        raise fatal(str(error)) from None


def fatal(message: str) -> typer.Exit:
    """Say what is wrong, in one line, and return what ends the program with status 2."""
    errors.print(f"[bold]understudy:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(2)


def log_to_stderr(level: str) -> None:
    """Log to the console, without a secret in it."""
    handler = RichHandler(console=errors, show_path=False, rich_tracebacks=False, log_time_format="[%X]")
    handler.addFilter(FoldLines(handler))
    handler.addFilter(RedactSecrets(os.environ))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    for name in LOGGED:
        logging.getLogger(name).setLevel(level.upper())


def authority(settings: Settings) -> Authority:
    """Open the certificate authority, or end the program."""
    try:
        return Authority.open(settings.data_dir / FOLDER, settings.hosts)
    except AuthorityError as error:
        raise fatal(str(error)) from None


def wrapped_environment(settings: Settings, proxy_address: tuple[str, int], directory: Path) -> WrappedEnvironment:
    """Return the environment that sends a program through the proxy and lets it trust us."""
    try:
        trust = write_trust_files(directory, authority(settings).certificate, os.environ)
    except OSError as error:
        raise fatal(f"the files of trusted certificates cannot be written: {directory}: {error.strerror}") from None
    for warning in trust.warnings:
        log.warning("%s", warning)
    proxy_url = f"http://{configuration.write_address(*proxy_address)}"
    return environment_for(
        os.environ,
        proxy_url=proxy_url,
        trust=trust,
        hosts=settings.hosts,
        upstream=settings.upstream_proxy is not None,
    )


def addons_for(settings: Settings, *, shown: bool = False) -> list[Any]:
    """Make the proxy's addons, or end the program."""
    try:
        addons = default_addons(settings, os.environ, shown=shown)
        next(addon for addon in addons if isinstance(addon, Record)).running()
    except (ReplayError, TapeError) as error:
        raise fatal(str(error)) from None
    return addons


def run_to_end(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine; SIGTERM and SIGHUP end it as Ctrl-C does, with everything that it started."""

    async def guarded() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, end, task, int(number))
        return await task

    ended_by: list[int] = []

    def end(task: asyncio.Future[int], number: int) -> None:
        ended_by.append(number)
        task.cancel()

    try:
        return asyncio.run(guarded())
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + (ended_by[0] if ended_by else signal.SIGINT)
    except CannotListenError as error:
        raise fatal(str(error)) from None


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments, after --.")
    ],
    upstream_proxy: UpstreamProxy = None,
    host: Host = None,
    passthrough: Passthrough = None,
    model_map: ModelMap = None,
    default_model: DefaultModel = None,
    rehearsal: Rehearsal = None,
    record: RecordFile = None,
    replay: Replay = None,
    on_miss: OnMiss = None,
    speed: Speed = None,
    faults: Faults = None,
    log_level: LogLevel = None,
    config: ConfigFile = None,
) -> None:
    """Run a program with its OpenAI traffic answered by Claude. Ends with the program's own exit status."""
    loaded = load_settings(
        config,
        upstream_proxy=upstream_proxy,
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
        listen="127.0.0.1:0",
        # Its one client is the program that it starts.
        client_auth=False,
    )
    # The terminal is the program's; unless asked for, only what is wrong is said on it.
    quiet = loaded.source["log_level"] == "default"
    log_to_stderr("warning" if quiet else loaded.settings.log_level)
    raise typer.Exit(run_to_end(run_wrapped(loaded.settings, command)))


async def run_wrapped(settings: Settings, command: list[str]) -> int:
    """Start the proxy, run the command through it, and return the command's exit status."""
    ca = authority(settings)
    with tempfile.TemporaryDirectory(prefix="understudy-") as directory:
        options = options_for(settings, ca.certificate.parent, os.environ)
        addons = addons_for(settings)
        async with proxy(options, addons) as addresses:
            wrapped = wrapped_environment(settings, addresses[0], Path(directory))
            for note in wrapped.notes:
                log.warning("%s", note)
            status = await run_command(command, wrapped.full)
    missed = say_score(addons)
    return status or int(missed)


def say_score(addons: list[Any]) -> bool:
    """Say what a replay came to, if there was one. Returns whether a request was missed."""
    player = next(addon for addon in addons if isinstance(addon, ServeOrigin)).player
    if player is None:
        return False
    for line in player.score.lines():
        errors.print(escape(line), highlight=False, soft_wrap=True)
    return bool(player.score.missed)


@cli.command()
def serve(
    listen: Listen = None,
    base_url: BaseUrl = None,
    web: Web = False,
    web_listen: WebListen = "127.0.0.1:8082",
    mode: Mode = None,
    upstream_proxy: UpstreamProxy = None,
    client_auth: ClientAuth = None,
    host: Host = None,
    passthrough: Passthrough = None,
    model_map: ModelMap = None,
    default_model: DefaultModel = None,
    rehearsal: Rehearsal = None,
    record: RecordFile = None,
    replay: Replay = None,
    on_miss: OnMiss = None,
    speed: Speed = None,
    faults: Faults = None,
    log_level: LogLevel = None,
    config: ConfigFile = None,
) -> None:
    """Run the proxy in the foreground, for programs started elsewhere."""
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
    )
    log_to_stderr(loaded.settings.log_level)
    try:
        where = configuration.parse_address(web_listen) if web else None
    except ValueError as error:
        raise fatal(f"--web-listen: {error}") from None
    if where is not None:
        if not is_loopback(where[0]):
            raise fatal("--web-listen: what went over the wire is shown on this machine alone: 127.0.0.1:PORT")
        # Which address it has, and which token it asks for, mitmweb says itself.
        logging.getLogger("mitmproxy.tools.web.master").setLevel(logging.INFO)
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


@cli.command()
def env(
    listen: Listen = None,
    host: Host = None,
    shell: Annotated[str, typer.Option(help="sh, bash, zsh, fish or powershell.")] = "sh",
    config: ConfigFile = None,
) -> None:
    """Print the shell lines that send programs through `understudy serve`: eval "$(understudy env)"."""
    settings = load_settings(config, listen=listen, hosts=host).settings
    log_to_stderr("warning")
    wrapped = wrapped_environment(settings, settings.listen, settings.data_dir / "trust")
    for note in wrapped.notes:
        log.warning("%s", note)
    try:
        print(render(wrapped.changes, shell), end="")
    except ValueError as error:
        raise fatal(str(error)) from None


@cli.command()
def demo(
    live: Annotated[bool, typer.Option("--live", help="Ask Claude itself, with your account.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Also write the picture to this file.")] = None,
) -> None:
    """Show the main job: an unmodified OpenAI program, and both sides of what went over the wire."""
    if importlib.util.find_spec("openai") is None:
        raise fatal("the demo drives OpenAI's own client, which is not installed here: uv run --with openai …")
    settings = load_settings(None, rehearsal=None if live else True, listen="127.0.0.1:0", log_level="warning").settings
    log_to_stderr("error" if settings.rehearsal else "warning")
    console = Console(record=svg is not None, width=118 if svg else None)
    if settings.rehearsal:
        console.print(
            "[yellow]A rehearsal: the real proxy, the real Claude Code, a simulated API: no model is asked.[/]\n"
        )
    status = run_to_end(show(settings, console))
    if svg is not None:
        # Without its fonts, which would be fetched from elsewhere: a picture must show the same everywhere.
        style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        console.save_svg(str(svg), title="understudy demo", code_format=style)
    raise typer.Exit(status)


@cli.command("config")
def show_config(config: ConfigFile = None) -> None:
    """Show every setting, its value and where it came from."""
    loaded = load_settings(config)
    table = Table("setting", "value", "from", "what it is", box=None, pad_edge=False, header_style="bold")
    for name, text, source, what in configuration.rows(loaded):
        table.add_row(name, escape(text), escape(source), escape(what), style=None if source != "default" else "dim")
    Console().print(table)


@cli.command()
def rehearsal(
    port: Annotated[int, typer.Option(help="0: one that is free.")] = 0,
    delay: Annotated[float, typer.Option(min=0, help="Seconds before each piece of an answer.")] = 0.02,
) -> None:
    """Serve the simulated Anthropic API alone, on loopback. Its address is printed first."""
    log_to_stderr("info")
    raise typer.Exit(run_to_end(rehearse(port, delay)))


async def rehearse(port: int, delay_s: float) -> int:
    """Serve the rehearsal until the program is told to end."""
    await serve_forever(port=port, delay_s=delay_s, ready=lambda base_url: print(base_url, flush=True))
    return 0


def own_spawn(settings: Settings, source: Source) -> Spawn:
    """Return how Claude Code is started for a check of the credentials: as it is for the app's turns."""
    return spawn_for(settings, source, os.environ, environment(source, os.environ))


def settings_of(config: Path | None) -> Settings:
    """Put the settings together, for the commands that live elsewhere."""
    return load_settings(config).settings


def open_store() -> Database:
    """Open the store that the settings name."""
    return Database.open(settings_of(None).store_place())


@contextlib.asynccontextmanager
async def own_proxy(settings: Settings) -> AsyncIterator[tuple[str, Path]]:
    """Run the proxy for a command of ours; yields its URL and the file of its authority."""
    ca = authority(settings)
    options = options_for(settings, ca.certificate.parent, os.environ)
    async with proxy(options, addons_for(settings)) as (address, *_):
        yield f"http://{configuration.write_address(*address)}", ca.certificate


def load_for(config: Path | None, **flags: Any) -> Settings:
    """Put the settings together, for the commands that ask something live; what is wrong is said on the terminal."""
    settings = load_settings(config, **flags).settings
    log_to_stderr("warning")
    return settings


async def watch(settings: Settings, watcher: Watcher, command: Sequence[str]) -> int:
    """Run a command through a proxy that only watches."""
    ca = authority(settings)
    own = dataclasses.replace(settings, listen=("127.0.0.1", 0), base_url=None, mode=(), upstream_proxy=None)
    with tempfile.TemporaryDirectory(prefix="understudy-") as directory:
        options = options_for(own, ca.certificate.parent, os.environ)
        async with proxy(options, [DecryptOnlyOurs(own.hosts), NameInCertificate(own.hosts), watcher]) as addresses:
            wrapped = wrapped_environment(own, addresses[0], Path(directory))
            return await run_command(command, wrapped.full)


add_doctor_command(cli, load_for, watch)
add_looking_commands(cli)
add_convert_command(cli)
add_rerun_commands(cli, load_for, own_proxy)
cli.add_typer(keys_command(open_store), name="keys")
cli.add_typer(auth_command(settings_of, own_spawn), name="auth")
cli.add_typer(ca_command(settings_of), name="ca")


def main() -> None:
    """Be the `understudy` command."""
    # Not every terminal, and hardly a pipe on Windows, has every character; what it has not is written as its escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    cli()


if __name__.startswith("__mitmproxy_script__"):
    # mitmproxy loads this file as a script: `mitmweb -s run_proxy.py`. Settings come from the environment and the file.
    addons = default_addons(
        configuration.load({}, os.environ, configuration.read_file()).settings, os.environ, shown=True
    )
    next(addon for addon in addons if isinstance(addon, ServeOrigin)).in_the_background = True
elif __name__ == "__main__":
    main()
