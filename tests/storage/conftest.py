"""Both kinds of database, each opened twice, as two proxies would."""

from collections.abc import Iterator

import pytest

from storage.database import Database
from tests.postgres import database, database_url, postgres
from tests.storage.kept import Clock

__all__ = ["clock", "database", "database_url", "other", "postgres"]


@pytest.fixture
def other(database: Database, database_url: str) -> Iterator[Database]:
    """The same database, as another proxy has it."""
    with Database.open(database_url) as other:
        yield other


@pytest.fixture
def clock() -> Clock:
    """The time that a test sets."""
    return Clock()
