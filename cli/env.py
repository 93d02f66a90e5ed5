"""`understudy env`: shell commands that send a shell's programs through `understudy serve`, and commands to undo it."""

import os
from typing import Annotated

import typer

from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.options import Given, with_settings
from cli.wrapped import wrapped_environment
from launch.base_urls import listens
from launch.shell_lines import SHELLS, set_lines, unset_lines
from settings import write_address


def shells() -> list[str]:
    """Return the supported shells, for the shell's completion."""
    return list(SHELLS)


@with_settings("listen", "hosts")
def env(
    given: Given,
    unset: Annotated[
        bool, typer.Option("--unset", help="Print the commands that undo it. Each variable gets its old value back.")
    ] = False,
    shell: Annotated[
        str, typer.Option(metavar="SHELL", help=f"The shell: {', '.join(SHELLS)}.", autocompletion=shells)
    ] = "sh",
) -> None:
    """Print shell commands that send programs through `understudy serve`. Use: eval "$(understudy env)"."""
    try:
        if unset:
            lines = unset_lines(os.environ, shell)
            if not lines:
                typer.echo("understudy: nothing to undo: this shell has not loaded `understudy env`.", err=True)
            print(lines, end="")
            return
        settings = load_settings(given.config, **given.flags).settings
        log_to_stderr("warning")
        wrapped = wrapped_environment(settings, settings.listen, settings.data_dir / "trust")
        for note in wrapped.notes:
            log.warning("%s", note)
        print(set_lines(wrapped.changes, os.environ, shell), end="")
        if not listens(settings.listen):
            at = write_address(*settings.listen)
            typer.echo(f"nothing listens at {at} yet: start `understudy serve` in another shell", err=True)
    except ValueError as error:
        raise fatal(str(error)) from None
