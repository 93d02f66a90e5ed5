"""`understudy run`: runs a program, and answers its OpenAI requests with Claude."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from addons.master import options_for, proxy
from auth.log_redaction import redact, secrets_in
from cli.building import program_for, say_score
from cli.compose import Program
from cli.fatal import stderr
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.models import log_models
from cli.options import Given, with_settings
from cli.run_to_end import run_to_end
from cli.sign_of_life import keep_below_log, sign_of_life
from cli.summary import summary as summary_of
from cli.wrapped import authority, wrapped_environment
from launch.base_urls import base_urls_past
from launch.child import NOT_EXECUTABLE, NOT_FOUND, run_command
from launch.python import advice, launcher, near_program, quoted
from settings import Settings, hide_password

SIGNALLED = 128
"""The exit status of a command that a signal ended is 128 plus the signal's number."""


@with_settings(
    *("rehearsal", "record", "replay", "model_map", "default_model", "replay_on_miss", "replay_speed"),
    *("replay_faults", "hosts", "passthrough", "upstream_proxy", "log_level", "log_file"),
)
def run(
    given: Given,
    command: Annotated[
        list[str],
        typer.Argument(metavar="PROGRAM", help="The program and its arguments. Options before it are Understudy's."),
    ],
    summary: Annotated[
        bool | None,
        typer.Option(
            "--summary",
            help="Print a summary at the end: the requests and their cost. Default: only on a terminal.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither the starting line nor the summary.")] = False,
) -> None:
    """Run a program and answer its OpenAI requests with Claude. The exit status is the program's own."""
    # The only client of this proxy is the program that it starts, so a free port will do, and no key is needed.
    loaded = load_settings(given.config, **given.flags, listen="127.0.0.1:0", client_auth=False)
    # The terminal belongs to the program. Unless --log-level is given, only warnings and errors are shown there.
    only_warnings = loaded.source["log_level"] == "default"
    level = loaded.settings.log_level
    log_to_stderr("warning" if only_warnings else level, file=loaded.settings.log_file, file_level=level)
    keep_below_log()
    log_models(loaded)
    if sys.prefix != sys.base_prefix:  # otherwise Understudy is in the system's Python, which all programs share
        options = sys.argv[2 : len(sys.argv) - len(command)]
        if line := advice(command, os.environ, Path.cwd(), Path(sys.prefix), options):
            log.warning("%s", hide_password(line))
    own_door = [loaded.settings.base_url] if loaded.settings.base_url else []
    for name, (url, _) in base_urls_past(os.environ, own_door).items():
        log.warning("%s=%s goes past this proxy: unset it", name, hide_password(url))
    is_summed_up = not quiet and (bool(summary) or sys.stderr.isatty())
    raise typer.Exit(run_to_end(run_wrapped(loaded.settings, command, is_summed_up=is_summed_up)))


async def run_wrapped(settings: Settings, command: list[str], *, is_summed_up: bool) -> int:
    """Start the proxy, run the command through it, and return the command's exit status.

    ``is_summed_up``: print a summary of the requests at the end.
    """
    ca = authority(settings)
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as directory:
        options = options_for(settings, ca.certificate.parent, os.environ)
        program = program_for(settings)
        async with proxy(options, program.addons) as addresses:
            wrapped = wrapped_environment(settings, addresses[0], Path(directory))
            for note in wrapped.notes:
                log.warning("%s", note)
            sign_of_life.erase()
            status = await run_command(command, wrapped.full)
    missed = say_score(program, settings)
    if is_summed_up and status not in (NOT_FOUND, NOT_EXECUTABLE):
        say_summary(program, settings, command, status)
    return status or int(missed)


def say_summary(program: Program, settings: Settings, command: Sequence[str], status: int) -> None:
    """Print the number of requests and their cost. If there was no request, print what to do.

    If a signal ended the command (``status`` above 128), it may not have had time for a request. Then print nothing.
    """
    if program.requests.all:
        line = summary_of(
            program.requests,
            program.totals.total,
            program.totals.names(),
            replayed=sum(program.player.score.used.values()) if program.player else 0,
            recorded=settings.record,
            rehearsal=settings.rehearsal,
        )
    elif status > SIGNALLED:
        return
    else:
        line = why_nothing_came(command, status, Path.cwd())
    # The user's command line can contain a key.
    line = hide_password(redact(line, secrets_in(os.environ)))
    stderr.print(f"[bold]understudy:[/] {escape(line)}", highlight=False, soft_wrap=True)


def why_nothing_came(command: Sequence[str], status: int, cwd: Path) -> str:
    """Return a line that says what to do about a command that made no request."""
    own = launcher(os.environ, Path(sys.prefix))
    if status and (programs := near_program(command, os.environ, cwd)):
        found, other = programs
        shown = other.relative_to(cwd) if other.is_relative_to(cwd) else other
        return (
            f"no request came. `{command[0]}` is {found}; your project has {shown.parent.parent}:"
            f" {own} run -- {quoted([str(shown), *command[1:]])}"
        )
    return f"no request came through the proxy. To see why: {own} doctor -- {quoted(command)}"
