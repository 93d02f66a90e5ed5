"""`understudy env`: the lines that send a shell's programs through `understudy serve`."""

from typing import Annotated

import typer

from cli.building import wrapped_environment
from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log, log_to_stderr
from cli.options import ConfigFile, Host, Listen
from wrapping.environment import render


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
