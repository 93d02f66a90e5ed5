"""A database that many requests use at once: SQLite in a file, or PostgreSQL.

Theory of operation
-------------------
All work is a function of a connection, run in one transaction: it is committed when the function returns, and nothing
of it stays when it raises. On SQLite a writing transaction begins as IMMEDIATE: it holds the one write lock from its
first statement, so what it reads cannot change before it writes, whichever process asks. On PostgreSQL (READ
COMMITTED) work that must see the latest state locks a row first (``SELECT … FOR UPDATE``), which SQLite needs not.

Drivers block, and the event loop must not. Asynchronous callers have their work done by threads that belong to the
database, and not by `asyncio.to_thread`: its few threads are shared with whatever else blocks (name resolution, for
one), which a slow database would then stop too. SQLite gets one writing thread, since it has one writer anyway and
a queue is fairer than racing for its lock, and reading threads beside it, which in WAL mode never wait for a writer.

Durability: a commit that returned survives the end of this process, however it ends (WAL: the pages are the kernel's),
and with ``synchronous=FULL`` also that of the machine, at the cost of one fsync a commit (0.7 ms where it was
measured, against 0.01 ms for NORMAL). That is the choice here: a key whose revocation was confirmed must not come back
with the power, and beside a model's answer the millisecond does not show.
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
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from storage.migrations import MIGRATIONS, Migration, TooNewError, migrate
from storage.private_files import make_private_folder, touch_private_file

READERS = 4
POSTGRESQL_WRITERS = 8
LOCK_TIMEOUT_S = 10.0

# A server that a network swallows answers nothing, and would hold every writer for the quarter of an hour that TCP
# gives it. What the address itself says wins. https://www.postgresql.org/docs/current/libpq-connect.html
CONNECTION_LIMITS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}

# A proxy that is stopped in the middle of a transaction must not keep the others from a client's row for ever.
IDLE_IN_TRANSACTION_S = 30


class StoreError(Exception):
    """The database cannot be used, or not now. The message says which and why, without a password."""


class NewerSchemaError(StoreError):
    """The database was made by a newer Understudy."""


class Database:
    """An open database. Close it, or use it in a ``with``."""

    def __init__(self, engine: Engine, name: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Take an engine that is set up; :meth:`open` makes one. ``name`` is what errors call the database."""
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
        """Open a SQLite file, made if there is none, or ``postgresql://user@host/name``; bring its tables up to date.

        ``lock_timeout_s`` is how long work waits for another's lock before it fails. Blocks. Raises StoreError.
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
        """Whether this is a file of ours rather than a server."""
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
        """Finish what was begun, and close every connection. Blocks."""
        self._writers.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    def read[T](self, work: Callable[[Connection], T]) -> T:
        """Run work that changes nothing. Blocks. Raises StoreError, and what the work raises."""
        with _store_errors(self._name), self._engine.begin() as connection:
            return work(connection)

    def write[T](self, work: Callable[[Connection], T]) -> T:
        """Run work and commit it; what it raises undoes it. Blocks. Raises StoreError, and what the work raises."""
        return self._write(work, self._lock_timeout_s)

    def _write[T](self, work: Callable[[Connection], T], lock_timeout_s: float) -> T:
        with _store_errors(self._name), self._writing_engine.connect() as connection:
            waits = connection.execution_options(understudy_lock_timeout_ms=max(1, int(lock_timeout_s * 1000)))
            with waits.begin():
                return work(waits)

    async def aread[T](self, work: Callable[[Connection], T]) -> T:
        """Do as :meth:`read`, without blocking."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read, work)

    async def awrite[T](self, work: Callable[[Connection], T]) -> T:
        """Do as :meth:`write`, without blocking. Cancelled before its turn came, nothing is done; after, all is."""
        queued = time.monotonic()

        def write() -> T:
            # Who has waited behind others for the same lock has waited for it, too; else ten would wait ten times.
            return self._write(work, self._lock_timeout_s - (time.monotonic() - queued))

        return await asyncio.get_running_loop().run_in_executor(self._writers, write)

    def now(self, connection: Connection) -> float:
        """Return the time in Unix seconds, by the one clock that all who share the database have."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that may say what to do where the row exists. Both databases write it alike, SQLAlchemy not."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


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
    """Write an address without its passwords: libpq takes one in the query as well."""
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
        # The driver begins no transactions of its own accord: it would not know which kind.
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
    """Make the file private before anything is in it, and set its journal's mode, which it keeps."""
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
                # Of several programs that do this at once, SQLite refuses all but one without waiting.
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
            pool_pre_ping=True,  # the server may have been started anew since
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
    """Say in one line that the database failed. That a row exists already is the work's own affair."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise StoreError(f"the database {name} cannot be used: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
