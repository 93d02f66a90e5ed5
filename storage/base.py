"""What all stores share: the database, the JSON form of rows, a clock, and which ids are valid."""

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
    """The id is taken, or the row has changed since the caller read it."""


class Store:
    """The base of all stores. ``clock`` returns Unix seconds. Without it, the database's own clock is used."""

    def __init__(self, database: Database, encryption: Encryption | None = None, *, clock: Clock | None = None) -> None:
        self._database = database
        self._vault = encryption or Encryption()
        self._clock = clock

    def _now(self, connection: Connection) -> float:
        return self._clock() if self._clock else self._database.now(connection)


def can_be_id(id: str) -> bool:
    """Whether a text can be stored as an id or an owner. PostgreSQL rejects NUL, UTF-8 rejects lone surrogates."""
    return id.isprintable() and 0 < len(id.encode("utf-8")) <= MAX_ID


def check_ids(*ids: str) -> None:
    """Raise ValueError for a text that cannot be an id."""
    if not all(map(can_be_id, ids)):
        raise ValueError(f"an id must be 1 to {MAX_ID} bytes of printable characters")


def size_of(*kept: str | None) -> int:
    """Return how many bytes texts have in UTF-8. :func:`octets` counts the same in the database."""
    return sum(len(text.encode("utf-8")) for text in kept if text is not None)


def octets(connection: Connection, *columns: ColumnElement[Any]) -> ColumnElement[int]:
    """Return an expression for the total bytes of text columns. NULL counts as 0."""
    if connection.dialect.name == "postgresql":
        lengths: Sequence[ColumnElement[int]] = [func.octet_length(column) for column in columns]
    else:
        lengths = [func.length(cast(column, LargeBinary)) for column in columns]
    total: ColumnElement[int] = literal(0)
    for length in lengths:
        total = total + func.coalesce(length, 0)
    return total
