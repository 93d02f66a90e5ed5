"""Makes settings of the flags, the environment and the settings file. An error ends the program with one line."""

import os
from pathlib import Path
from typing import Any

import settings as configuration
from cli.fatal import fatal
from cli.log import log_to_stderr
from cli.options import REPLAY, option_of
from settings import Settings, SettingsError, Sourced


def load_settings(config: Path | None, **flags: Any) -> Sourced:
    """Return the settings. A wrong setting ends the program with one line on stderr.

    ``flags`` maps names of settings to the values of their options. None means that the option was not given.
    """
    try:
        lists = {name: ",".join(value) for name, value in flags.items() if isinstance(value, list)}
        loaded = configuration.load({**flags, **lists}, os.environ, configuration.read_file(config))
    except SettingsError as error:
        raise fatal(f"{option_of(error.setting)}: {error.reason}" if error.source == "flag" else str(error)) from None
    idle = [option_of(name) for name, value in flags.items() if name.startswith(REPLAY) and value is not None]
    if idle and loaded.settings.replay is None:
        raise fatal(f"{' and '.join(idle)} can only be used with --replay FILE: nothing is replayed.")
    return loaded


def settings_of(config: Path | None) -> Settings:
    """Return the settings, without the sources of the values."""
    return load_settings(config).settings


def load_for(config: Path | None, **flags: Any) -> Settings:
    """Return the settings for a command that may ask Claude. Also start the log: warnings go to the terminal."""
    settings = load_settings(config, **flags).settings
    log_to_stderr("warning", file=settings.log_file, file_level=settings.log_level)
    return settings
