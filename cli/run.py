"""`understudy run`: runs a program with its OpenAI traffic answered by Claude."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from addons.master import options_for, proxy
from cli.building import addons_for, authority, say_score, wrapped_environment
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.options import (
    ConfigFile,
    DefaultModel,
    Faults,
    Host,
    LogFile,
    LogLevel,
    ModelMap,
    OnMiss,
    Passthrough,
    RecordFile,
    Rehearsal,
    Replay,
    Speed,
    UpstreamProxy,
)
from cli.run_to_end import run_to_end
from settings import Settings
from wrapping.child import run_command


def run(
    command: Annotated[
        list[str],
        typer.Argument(metavar="PROGRAM", help="The program and its arguments. Options before it are Understudy's."),
    ],
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
    upstream_proxy: UpstreamProxy = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
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
        log_file=log_file,
        listen="127.0.0.1:0",
        # Its one client is the program that it starts.
        client_auth=False,
    )
    # The terminal is the program's; unless asked for, only what is wrong is said on it.
    quiet = loaded.source["log_level"] == "default"
    level = loaded.settings.log_level
    log_to_stderr("warning" if quiet else level, file=loaded.settings.log_file, file_level=level)
    raise typer.Exit(run_to_end(run_wrapped(loaded.settings, command)))


async def run_wrapped(settings: Settings, command: list[str]) -> int:
    """Start the proxy, run the command through it, and return the command's exit status."""
    ca = authority(settings)
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as directory:
        options = options_for(settings, ca.certificate.parent, os.environ)
        addons = addons_for(settings)
        async with proxy(options, addons) as addresses:
            wrapped = wrapped_environment(settings, addresses[0], Path(directory))
            for note in wrapped.notes:
                log.warning("%s", note)
            status = await run_command(command, wrapped.full)
    missed = say_score(addons)
    return status or int(missed)
