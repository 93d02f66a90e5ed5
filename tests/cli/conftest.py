"""Where the commands' tests run: in a folder and an environment that nothing of the person's reaches."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.log import LOGGED
from tests.postgres import database, database_url, postgres

__all__ = ["database", "database_url", "postgres"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no configuration and no setting of the person's is."""
    for name in os.environ:
        if name.startswith("UNDERSTUDY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("UNDERSTUDY_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process has done to the log, of which other tests read."""
    loggers = [logging.getLogger(), *map(logging.getLogger, LOGGED)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
