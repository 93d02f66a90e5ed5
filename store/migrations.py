"""The database's tables, as an ordered list of small steps.

A step, once released, is never changed: a later one corrects it. Steps are written in SQL that SQLite and PostgreSQL
both read, and take nothing from :mod:`store.tables`, which tells how the tables are today, not how they were.

Opening the database applies every step that it lacks, in order, in one transaction under a lock: of several programs
that open it at once, one does it and the others find it done. A step that fails leaves the database as it was.
"""

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, inspect, text

# Any number will do, so long as nothing else in the database takes an advisory lock of the same one: «Understudy» in
# ASCII, cut to the eight bytes that PostgreSQL takes.
LOCK = int.from_bytes(b"Understu")

type Migration = Callable[[Connection], None]


class TooNewError(Exception):
    """The database holds steps that this program does not know. ``found`` and ``known`` are the last of each."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"schema {found}, known up to {known}")
        self.found = found
        self.known = known


def _clients_and_budgets(connection: Connection) -> None:
    # Times are Unix seconds. Money is counted in whole thousand-millionths of a dollar, so that sums are exact; every
    # published price of a single token is a whole number of them.
    for statement in (
        """
        CREATE TABLE clients (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            secret_sha256 TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            expires_at DOUBLE PRECISION,
            revoked_at DOUBLE PRECISION,
            models TEXT NOT NULL,
            agents TEXT NOT NULL,
            requests_per_minute BIGINT,
            tokens_per_minute BIGINT,
            concurrent BIGINT,
            nanodollars_per_day BIGINT,
            nanodollars_total BIGINT
        )
        """,
        # A name is free again once its key is revoked.
        "CREATE UNIQUE INDEX clients_name ON clients (name) WHERE revoked_at IS NULL",
        """
        CREATE TABLE admissions (
            id TEXT NOT NULL PRIMARY KEY,
            client_id TEXT NOT NULL REFERENCES clients (id),
            admitted_at DOUBLE PRECISION NOT NULL,
            lease_until DOUBLE PRECISION NOT NULL,
            settled_at DOUBLE PRECISION,
            tokens BIGINT NOT NULL,
            nanodollars BIGINT NOT NULL
        )
        """,
        "CREATE INDEX admissions_client ON admissions (client_id, admitted_at)",
        """
        CREATE TABLE spending (
            client_id TEXT NOT NULL REFERENCES clients (id),
            day TEXT NOT NULL,
            requests BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            nanodollars BIGINT NOT NULL,
            nanodollars_estimated BIGINT NOT NULL,
            requests_unpriced BIGINT NOT NULL,
            PRIMARY KEY (client_id, day)
        )
        """,
    ):
        connection.execute(text(statement))


MIGRATIONS: Sequence[Migration] = (_clients_and_budgets,)
"""Step 1 is the first. New ones go to the end."""


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply the steps that the database lacks and return the number of the last.

    ``connection`` is in a transaction that may write, which on SQLite is the lock. Raises TooNewError.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    found = _version(connection)
    if found > len(migrations):
        raise TooNewError(found, len(migrations))
    for number, step in enumerate(migrations[found:], start=found + 1):
        step(connection)
        connection.execute(
            text("INSERT INTO schema_version (number, name, applied_at) VALUES (:number, :name, :applied_at)"),
            {"number": number, "name": getattr(step, "__name__", "").strip("_"), "applied_at": time.time()},
        )
    return len(migrations)


def _version(connection: Connection) -> int:
    # Asked before it is made: a role that may only use the tables can then still open a database that is up to date.
    if not inspect(connection).has_table("schema_version"):
        connection.execute(
            text(
                "CREATE TABLE schema_version "
                "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at DOUBLE PRECISION NOT NULL)"
            )
        )
    return int(connection.execute(text("SELECT coalesce(max(number), 0) FROM schema_version")).scalar_one())
