"""Builds the program and a proxy from the settings, for the commands."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rich.markup import escape

import settings as configuration
from addons.decrypt_only_ours import DecryptOnlyOurs
from addons.master import options_for, proxy
from addons.name_in_certificate import NameInCertificate
from api.replay import ReplayError
from cassettes.record.record import CassetteError
from cli.compose import Program, compose
from cli.doctor.runtime import Watcher
from cli.fatal import fatal, stderr
from cli.wrapped import authority, wrapped_environment
from launch.child import run_command
from settings import Settings


def program_for(settings: Settings, *, shown: bool = False) -> Program:
    """Build the program, and start to record if the settings say so. On an error, exit with one line on stderr."""
    try:
        program = compose(settings, os.environ, shown=shown)
        program.record.running()
    except (ReplayError, CassetteError) as error:
        raise fatal(str(error)) from None
    return program


def say_score(program: Program, settings: Settings) -> bool:
    """Print the result of a replay, if there was one. Return whether a request was refused as not recorded."""
    player = program.player
    if player is None:
        return False
    is_recorded = settings.record or "record" in (settings.replay_on_miss, settings.replay_on_expired)
    lines = list(player.score.lines(max(0, player.score.live - len(program.record.not_kept)) if is_recorded else 0))
    if player.score.missed:
        it = "it" if len(player.score.missed) == 1 else "them"
        lines.append(f"replay: record {it}: --on-miss record")
    for line in lines:
        stderr.print(escape(line), highlight=False)
    return bool(player.score.missed)


@contextlib.asynccontextmanager
async def own_proxy(settings: Settings) -> AsyncIterator[tuple[str, Path]]:
    """Run the proxy for one of Understudy's own commands. Yield its URL and the file of its root certificate."""
    ca = authority(settings)
    options = options_for(settings, ca.certificate.parent, os.environ)
    async with proxy(options, program_for(settings).addons) as (address, *_):
        yield f"http://{configuration.write_address(*address)}", ca.certificate


async def watch(settings: Settings, watcher: Watcher, command: Sequence[str]) -> int:
    """Run a command through a proxy that only observes. Return the command's exit status."""
    ca = authority(settings)
    own = dataclasses.replace(settings, listen=("127.0.0.1", 0), base_url=None, mode=(), upstream_proxy=None)
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as directory:
        options = options_for(own, ca.certificate.parent, os.environ)
        async with proxy(options, [DecryptOnlyOurs(own.hosts), NameInCertificate(own.hosts), watcher]) as addresses:
            wrapped = wrapped_environment(own, addresses[0], Path(directory))
            return await run_command(command, wrapped.full)
