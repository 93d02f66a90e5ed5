"""The migrations: an ordered list of small steps that create and change the database's tables.

A released step is never changed. A later step corrects it. The steps use SQL that both SQLite and PostgreSQL
understand. They do not use :mod:`storage.tables`, which describes the tables as they are now, not as they were.

Opening a database applies all missing steps in order, in one transaction under a lock. If several programs open it at
once, one applies the steps and the others find them applied. If a step fails, the database stays unchanged.
"""

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, inspect, text

# The key of the advisory lock. It can be any number that nothing else in the database uses as a key. This one is
# «Understudy» in ASCII, cut to the eight bytes of PostgreSQL's keys.
LOCK = int.from_bytes(b"Understu")

type Migration = Callable[[Connection], None]


class TooNewError(Exception):
    """The database has steps that this program does not know.

    ``found`` is the number of the database's last step, ``known`` of the program's last step.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"schema {found}, known up to {known}")
        self.found = found
        self.known = known


def _clients_and_budgets(connection: Connection) -> None:
    # Times are in Unix seconds. Money is counted in whole nanodollars, so that sums are exact. Every published price of
    # a single token is a whole number of nanodollars.
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
        # A name can be used again once its key is revoked.
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


def _what_is_remembered(connection: Connection) -> None:
    # The columns with JSON may be encrypted; that is text as well. They come last, because SQLite must read through
    # them to reach later columns. `size` is the number of their bytes. The total of an owner is computed from an index
    # alone. A deleted row that other rows still need is only hidden (`hidden_at`).
    for statement in (
        """
        CREATE TABLE conversations (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            used_at DOUBLE PRECISION NOT NULL,
            hidden_at DOUBLE PRECISION,
            size BIGINT NOT NULL,
            next_position BIGINT NOT NULL,
            metadata TEXT NOT NULL
        )
        """,
        "CREATE INDEX conversations_used ON conversations (used_at)",
        "CREATE INDEX conversations_owner ON conversations (owner, used_at, hidden_at, size)",
        """
        CREATE TABLE conversation_items (
            conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            position BIGINT NOT NULL,
            id TEXT NOT NULL,
            item TEXT NOT NULL,
            PRIMARY KEY (conversation_id, position)
        )
        """,
        "CREATE UNIQUE INDEX conversation_items_id ON conversation_items (conversation_id, id)",
        """
        CREATE TABLE responses (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            status TEXT NOT NULL,
            previous_id TEXT REFERENCES responses (id),
            conversation_id TEXT REFERENCES conversations (id),
            conversation_from BIGINT,
            depth BIGINT NOT NULL,
            length BIGINT NOT NULL,
            asked BIGINT NOT NULL,
            size BIGINT NOT NULL,
            hidden_at DOUBLE PRECISION,
            ended_at DOUBLE PRECISION,
            worker TEXT,
            lease_until DOUBLE PRECISION,
            cancel_requested_at DOUBLE PRECISION,
            earlier TEXT,
            own_items TEXT NOT NULL,
            body TEXT
        )
        """,
        "CREATE INDEX responses_created ON responses (created_at)",
        "CREATE INDEX responses_owner ON responses (owner, created_at, hidden_at, ended_at, size)",
        "CREATE INDEX responses_previous ON responses (previous_id)",
        "CREATE INDEX responses_conversation ON responses (conversation_id)",
        "CREATE INDEX responses_background ON responses (ended_at, lease_until) WHERE worker IS NOT NULL",
        "CREATE INDEX responses_hidden ON responses (hidden_at) WHERE hidden_at IS NOT NULL",
        """
        CREATE TABLE response_events (
            response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
            sequence_number BIGINT NOT NULL,
            event TEXT NOT NULL,
            PRIMARY KEY (response_id, sequence_number)
        )
        """,
        """
        CREATE TABLE chat_completions (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            model TEXT NOT NULL,
            size BIGINT NOT NULL,
            metadata TEXT NOT NULL,
            messages TEXT NOT NULL,
            body TEXT NOT NULL
        )
        """,
        "CREATE INDEX chat_completions_created ON chat_completions (created_at)",
        "CREATE INDEX chat_completions_owner ON chat_completions (owner, created_at, id, size)",
        """
        CREATE TABLE sessions (
            key TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            id TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            used_at DOUBLE PRECISION NOT NULL,
            version BIGINT NOT NULL,
            messages BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            size BIGINT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX sessions_id ON sessions (owner, id)",
        "CREATE INDEX sessions_used ON sessions (used_at)",
        "CREATE INDEX sessions_owner ON sessions (owner, used_at, size)",
        """
        CREATE TABLE session_messages (
            session_key TEXT NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
            position BIGINT NOT NULL,
            message TEXT NOT NULL,
            PRIMARY KEY (session_key, position)
        )
        """,
        """
        CREATE TABLE tickets (
            name TEXT NOT NULL,
            number BIGINT NOT NULL,
            lease_until DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (name, number)
        )
        """,
    ):
        connection.execute(text(statement))


def _earlier_dollars_are_estimates(connection: Connection) -> None:
    # Before this step, each turn was booked with the total cost of its Claude Code process so far. The right cost
    # cannot be computed, because only a day's total of tokens is stored. So the sums stay, marked as estimates.
    connection.execute(text("UPDATE spending SET nanodollars_estimated = nanodollars"))


def _files(connection: Connection) -> None:
    # The bytes of a file are in pieces, so that no query has to hold all of them. A file with an `upload_id` is a part
    # of an upload. A file counts towards the quotas from its first row on, but can be read only once it is `ready`.
    binary = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    for statement in (
        """
        CREATE TABLE uploads (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            expires_at DOUBLE PRECISION NOT NULL,
            bytes BIGINT NOT NULL,
            about TEXT NOT NULL
        )
        """,
        "CREATE INDEX uploads_expire ON uploads (expires_at)",
        "CREATE INDEX uploads_owner ON uploads (owner)",
        """
        CREATE TABLE files (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            expires_at DOUBLE PRECISION,
            purpose TEXT NOT NULL,
            bytes BIGINT NOT NULL,
            ready BIGINT NOT NULL,
            upload_id TEXT REFERENCES uploads (id) ON DELETE CASCADE,
            about TEXT NOT NULL
        )
        """,
        "CREATE INDEX files_expire ON files (expires_at)",
        "CREATE INDEX files_owner ON files (owner, created_at, id, bytes)",
        "CREATE INDEX files_upload ON files (upload_id)",
        f"""
        CREATE TABLE file_pieces (
            file_id TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            position BIGINT NOT NULL,
            data {binary} NOT NULL,
            PRIMARY KEY (file_id, position)
        )
        """,
    ):
        connection.execute(text(statement))


def _batches(connection: Connection) -> None:
    # The lines of a batch are here from its validation until its results are in files.
    for statement in (
        """
        CREATE TABLE batches (
            id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            client_id TEXT,
            created_at DOUBLE PRECISION NOT NULL,
            expires_at DOUBLE PRECISION NOT NULL,
            status TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            input_file_id TEXT NOT NULL,
            output_file_id TEXT,
            error_file_id TEXT,
            total BIGINT NOT NULL,
            completed BIGINT NOT NULL,
            failed BIGINT NOT NULL,
            served_at DOUBLE PRECISION NOT NULL,
            not_before DOUBLE PRECISION NOT NULL,
            worker TEXT,
            lease_until DOUBLE PRECISION NOT NULL,
            times TEXT NOT NULL,
            about TEXT NOT NULL
        )
        """,
        "CREATE INDEX batches_owner ON batches (owner, created_at, id)",
        "CREATE INDEX batches_status ON batches (status, served_at)",
        """
        CREATE TABLE batch_lines (
            batch_id TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
            number BIGINT NOT NULL,
            status TEXT NOT NULL,
            attempts BIGINT NOT NULL,
            worker TEXT,
            lease_until DOUBLE PRECISION NOT NULL,
            request TEXT NOT NULL,
            result TEXT,
            PRIMARY KEY (batch_id, number)
        )
        """,
        "CREATE INDEX batch_lines_status ON batch_lines (batch_id, status, number)",
    ):
        connection.execute(text(statement))


def _batches_count(connection: Connection) -> None:
    # The lines of a batch that is under way count towards the quota for files.
    connection.execute(text("ALTER TABLE batches ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0"))


MIGRATIONS: Sequence[Migration] = (
    _clients_and_budgets,
    _what_is_remembered,
    _earlier_dollars_are_estimates,
    _files,
    _batches,
    _batches_count,
)
"""The steps, numbered from 1. New ones are appended."""


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply the steps that the database lacks. Return the number of the last step.

    ``connection`` must be in a writing transaction. On SQLite that transaction is the lock. Raises TooNewError.
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
    # Create the table only if it is missing. So a role that may not create tables can open an up-to-date database.
    if not inspect(connection).has_table("schema_version"):
        connection.execute(
            text(
                "CREATE TABLE schema_version "
                "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at DOUBLE PRECISION NOT NULL)"
            )
        )
    return int(connection.execute(text("SELECT coalesce(max(number), 0) FROM schema_version")).scalar_one())
