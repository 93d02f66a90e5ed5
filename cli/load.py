"""Flags, environment and file become settings, or one line that says what is wrong with them."""

import os
from pathlib import Path
from typing import Any

import settings as configuration
from cli.fatal import fatal
from cli.log import log_to_stderr
from settings import Settings, SettingsError, Sourced


def load_settings(config: Path | None, **flags: Any) -> Sourced:
    """Put the settings together; what is wrong with them ends the program with one line."""
    try:
        lists = {name: ",".join(value) for name, value in flags.items() if isinstance(value, list)}
        return configuration.load({**flags, **lists}, os.environ, configuration.read_file(config))
    except SettingsError as error:
        raise fatal(str(error)) from None


def settings_of(config: Path | None) -> Settings:
    """Put the settings together, for the commands that live in other rooms."""
    return load_settings(config).settings


def load_for(config: Path | None, **flags: Any) -> Settings:
    """Put the settings together, for the commands that ask something live; warnings are shown on the terminal."""
    settings = load_settings(config, **flags).settings
    log_to_stderr("warning")
    return settings
