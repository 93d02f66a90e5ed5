"""A database that many requests use at once: SQLite in a file, or PostgreSQL.

Theory of operation
-------------------
Callers pass their work as a function of a connection. It runs in one transaction, which is committed when the function
returns and rolled back when it raises. On SQLite a writing transaction begins with BEGIN IMMEDIATE. It holds the one
write lock from its first statement, so no other process can change what it reads before it writes. On PostgreSQL (READ
COMMITTED) work that must see the latest state locks a row first (``SELECT … FOR UPDATE``). SQLite does not need this.

Database drivers block, and the event loop must not. So asynchronous work runs in threads of this class.
`asyncio.to_thread` would share its few threads with other blocking calls such as name resolution, and a slow database
would block those too. SQLite allows only one writer at a time, so it gets one writing thread: a queue is fairer than a
race for the lock. It also gets reading threads, which never wait for a writer in WAL mode.

Durability: once a commit has returned, it survives a crash of this process, because the kernel has the pages (WAL).
With ``synchronous=FULL`` it also survives a power failure. That costs one fsync per commit: 0.7 ms where it was
measured, against 0.01 ms with NORMAL. FULL is used here, because a revoked key must not be valid again after a power
failure, and a millisecond is little beside the time that a model takes to answer.
"""

import asyncio
import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from storage.migrations import MIGRATIONS, Migration, TooNewError, migrate
from storage.private_files import make_private_folder, touch_private_file

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

READERS = 4
POSTGRESQL_WRITERS = 8
LOCK_TIMEOUT_S = 10.0

# If the network drops all packets of a server, every writer would wait for the quarter of an hour of TCP's own timeout.
# Parameters in the database's URL override these. https://www.postgresql.org/docs/current/libpq-connect.html
CONNECTION_LIMITS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}

# A proxy that is suspended in the middle of a transaction must not lock a client's row for ever.
IDLE_IN_TRANSACTION_S = 30


class StoreError(Exception):
    """The database cannot be used, at least for now. The message names it and the reason, but no password."""


class NewerSchemaError(StoreError):
    """The database was made by a newer Understudy."""


class Database:
    """An open database. Close it, or use it in a ``with``."""

    def __init__(self, engine: Engine, name: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Use a configured engine, such as :meth:`open` makes. ``name`` is the database's name in error messages."""
        self._engine = engine
        self._lock_timeout_s = lock_timeout_s
        self._writing_engine = engine.execution_options(understudy_writes=True)
        self._name = name
        writers = 1 if self.is_sqlite else POSTGRESQL_WRITERS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="store-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> Self:
        """Open a database and migrate its tables to the current schema. Blocks. Raises StoreError.

        ``where`` is the path of a SQLite file, which is created if it is missing, or ``postgresql://user@host/name``.
        ``lock_timeout_s`` is how many seconds work waits for a lock before it fails.
        """
        url = _url(where)
        name = url.database or "" if url.get_backend_name() == "sqlite" else _shown(url)
        with _store_errors(name):
            engine = (
                _sqlite(url, lock_timeout_s) if url.get_backend_name() == "sqlite" else _postgresql(url, lock_timeout_s)
            )
        database = cls(engine, name, lock_timeout_s)
        try:
            database.write(functools.partial(migrate, migrations=migrations))
        except TooNewError as error:
            database.close()
            raise NewerSchemaError(
                f"the database {name} was made by a newer Understudy (schema {error.found}, this one knows up to "
                f"{error.known}): upgrade this one, or use another database"
            ) from None
        except BaseException:
            database.close()
            raise
        return database

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file and not a PostgreSQL server."""
        return self._engine.dialect.name == "sqlite"

    def __repr__(self) -> str:
        return f"<Database {self._name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish all queued work, then close every connection. Blocks."""
        self._writers.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    def read[T](self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, and return its result. Blocks. Raises StoreError, and whatever the work raises."""
        with _store_errors(self._name), self._engine.begin() as connection:
            return work(connection)

    def write[T](self, work: Callable[[Connection], T]) -> T:
        """Run work, commit it and return its result. If the work raises, roll it back.

        Blocks. Raises StoreError, and whatever the work raises.
        """
        return self._write(work, self._lock_timeout_s)

    def _write[T](self, work: Callable[[Connection], T], lock_timeout_s: float) -> T:
        with _store_errors(self._name), self._writing_engine.connect() as connection:
            waits = connection.execution_options(understudy_lock_timeout_ms=max(1, int(lock_timeout_s * 1000)))
            with waits.begin():
                return work(waits)

    async def aread[T](self, work: Callable[[Connection], T]) -> T:
        """Do the same as :meth:`read`, without blocking the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read, work)

    async def awrite[T](self, work: Callable[[Connection], T]) -> T:
        """Do the same as :meth:`write`, without blocking the event loop.

        If the caller is cancelled before the work has started, it never runs. If it has started, it runs to its end.
        """
        queued = time.monotonic()

        def write() -> T:
            # The time in the queue counts towards the timeout. Otherwise the last of ten would wait for ten timeouts.
            return self._write(work, self._lock_timeout_s - (time.monotonic() - queued))

        return await asyncio.get_running_loop().run_in_executor(self._writers, write)

    def now(self, connection: Connection) -> float:
        """Return the time in Unix seconds, by the clock that all proxies on this database share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def insert_into(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that supports ON CONFLICT. SQLAlchemy has one class per database, though the SQL is the same."""
    if connection.dialect.name != "postgresql":
        return sqlite.insert(table)
    # Not at the top of the file: most proxies have SQLite, and it imports every driver that there is for PostgreSQL.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def _url(where: str | Path) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).expanduser()))
    try:
        url = make_url(where)
    except ArgumentError:
        raise StoreError("the database's address is no URL of the form postgresql://user@host/name") from None
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite")
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise StoreError(f"a database is a SQLite file or a postgresql:// URL, not {other}")


def _shown(url: URL) -> str:
    """Return the URL as text, without passwords. libpq also accepts a password in the query."""
    query = {key: "***" if "pass" in key.lower() or key.lower() == "pwd" else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _sqlite(url: URL, lock_timeout_s: float) -> Engine:
    _prepare_file(Path(url.database or ""), lock_timeout_s)
    engine = create_engine(
        url,
        connect_args={"timeout": lock_timeout_s},
        pool_size=1 + READERS,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # Keep the driver from beginning transactions itself: it does not know which kind is needed.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if (wait_ms := options.get("understudy_lock_timeout_ms")) is not None:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait_ms}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("understudy_writes") else "BEGIN")

    return engine


def _prepare_file(path: Path, lock_timeout_s: float) -> None:
    """Make the file private before anything is in it, and set its journal mode to WAL. The file stores that mode."""
    try:
        make_private_folder(path.parent)
        touch_private_file(path)
    except OSError as error:
        raise StoreError(f"the database needs a file that it can write: {path}: {error.strerror}") from error
    deadline = time.monotonic() + lock_timeout_s
    with contextlib.closing(sqlite3.connect(path, timeout=lock_timeout_s, isolation_level=None)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                # If several programs do this at once, SQLite refuses all but one immediately.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise StoreError(f"the database {path} cannot be used: {error}") from error
                time.sleep(0.01)
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{path} is no database: {error}") from error
            else:
                return


def _postgresql(url: URL, lock_timeout_s: float) -> Engine:
    try:
        engine = create_engine(
            url,
            connect_args={name: limit for name, limit in CONNECTION_LIMITS.items() if name not in url.query},
            pool_size=POSTGRESQL_WRITERS + READERS,
            pool_pre_ping=True,  # the server may have been restarted since the connection was made
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise StoreError("PostgreSQL needs the package psycopg: install understudy[postgresql]") from None

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = {int(lock_timeout_s * 1000)}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_S * 1000}")
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        wait_ms = connection.get_execution_options().get("understudy_lock_timeout_ms")
        if wait_ms is not None and wait_ms < lock_timeout_s * 900:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")

    return engine


@contextlib.contextmanager
def _store_errors(name: str) -> Iterator[None]:
    """Turn the driver's errors into a StoreError of one line. IntegrityError passes: the work handles it itself."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise StoreError(f"the database {name} cannot be used: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
