"""Flags, environment and file become settings, or one line that says what is wrong with them."""

import os
from pathlib import Path
from typing import Any

import settings as configuration
from cli.fatal import fatal
from cli.log import log_to_stderr
from cli.options import REPLAY, option_of
from settings import Settings, SettingsError, Sourced


def load_settings(config: Path | None, **flags: Any) -> Sourced:
    """Put the settings together; what is wrong with them ends the program with one line.

    ``flags`` are the options that were given, by the names of the settings; None: it was not given.
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
    """Put the settings together, for the commands that live in other rooms."""
    return load_settings(config).settings


def load_for(config: Path | None, **flags: Any) -> Settings:
    """Put the settings together, for the commands that ask something live; warnings are shown on the terminal."""
    settings = load_settings(config, **flags).settings
    log_to_stderr("warning", file=settings.log_file, file_level=settings.log_level)
    return settings
