"""What everything that is kept has in common: a database, how JSON lies in it, a clock, and ids that it can hold."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, cast, func, literal

from storage.database import Database
from storage.encryption import Encryption

# In bytes: an index of PostgreSQL holds up to 2.7 kB in an entry, which may be an owner and an id.
MAX_ID = 512

type Item = dict[str, Any]
type Clock = Callable[[], float]


class ConflictError(Exception):
    """Somebody else was there first: the id is taken, or what is changed is no longer what the caller read."""


class Store:
    """A place for one kind of thing. ``clock`` gives Unix seconds; without one the database tells the time to all."""

    def __init__(self, database: Database, encryption: Encryption | None = None, *, clock: Clock | None = None) -> None:
        self._database = database
        self._vault = encryption or Encryption()
        self._clock = clock

    def _now(self, connection: Connection) -> float:
        return self._clock() if self._clock else self._database.now(connection)


def can_be_id(id: str) -> bool:
    """Whether this can be an id or an owner. PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair."""
    return id.isprintable() and 0 < len(id.encode("utf-8")) <= MAX_ID


def check_ids(*ids: str) -> None:
    """Raise ValueError for what can be no id."""
    if not all(map(can_be_id, ids)):
        raise ValueError(f"an id is up to {MAX_ID} bytes of characters that can be printed")


def size_of(*kept: str | None) -> int:
    """Return how many bytes texts take, as :func:`octets` counts them in the database."""
    return sum(len(text.encode("utf-8")) for text in kept if text is not None)


def octets(connection: Connection, *columns: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the bytes of columns of text, NULL having none."""
    if connection.dialect.name == "postgresql":
        lengths: Sequence[ColumnElement[int]] = [func.octet_length(column) for column in columns]
    else:
        lengths = [func.length(cast(column, LargeBinary)) for column in columns]
    total: ColumnElement[int] = literal(0)
    for length in lengths:
        total = total + func.coalesce(length, 0)
    return total
