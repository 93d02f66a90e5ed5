"""The database keeps what it acknowledged, to one writer at a time, and off the event loop: on both kinds."""

import asyncio
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from storage.database import Database, StoreError, insert_into
from storage.tables import clients
from tests.postgres import Postgres

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def counter(database: Database) -> Iterator[Database]:
    """A database with a table of one number."""

    def make(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE counter (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)"))
        connection.execute(text("INSERT INTO counter VALUES (1, 0)"))

    database.write(make)
    yield database  # noqa: PT022 — closed by its own fixture


def sql(statement: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    return work


def add_one(connection: Connection) -> int:
    # FOR UPDATE is PostgreSQL's; on SQLite the transaction holds the lock that it asks for.
    locking = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    n = int(connection.execute(text(f"SELECT n FROM counter WHERE id = 1{locking}")).scalar_one()) + 1
    connection.execute(text("UPDATE counter SET n = :n WHERE id = 1"), {"n": n})
    return n


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT n FROM counter")).scalar_one())


def test_data_survives_reopening_the_database(database_url: str) -> None:
    with Database.open(database_url) as database:
        database.write(sql("CREATE TABLE kept (n BIGINT)"))
        database.write(sql("INSERT INTO kept VALUES (7)"))

    with Database.open(database_url) as database:
        assert database.read(lambda connection: connection.execute(text("SELECT n FROM kept")).scalar()) == 7


def test_work_that_raises_leaves_nothing(counter: Database) -> None:
    def fail(connection: Connection) -> None:
        add_one(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        counter.write(fail)

    assert counter.read(count) == 0


def test_a_write_transaction_sees_no_concurrent_change(counter: Database) -> None:
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(lambda _: counter.write(add_one), range(80)))

    assert sorted(seen) == list(range(1, 81))


async def test_the_event_loop_runs_while_the_database_works(counter: Database) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow(connection: Connection) -> int:
        began.set()
        assert may_end.wait(30)
        return add_one(connection)

    writing = asyncio.ensure_future(counter.awrite(slow))
    while not began.is_set():  # noqa: ASYNC110 — the thread tells no loop
        await asyncio.sleep(0.001)
    read = await counter.aread(count)
    assert not writing.done()
    may_end.set()

    assert (read, await writing) == (0, 1)


async def test_work_that_was_begun_is_finished_though_nobody_waits_any_more(counter: Database) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        began.set()
        assert may_end.wait(30)
        add_one(connection)

    writing = asyncio.ensure_future(counter.awrite(slow))
    while not began.is_set():  # noqa: ASYNC110 — the thread tells no loop
        await asyncio.sleep(0.001)
    writing.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await counter.awrite(add_one)

    assert await counter.aread(count) == 2


def test_a_lock_that_another_keeps_is_an_error_in_the_end(database_url: str, counter: Database) -> None:
    with Database.open(database_url, lock_timeout_s=0.1) as other:

        def keep(connection: Connection) -> None:
            add_one(connection)
            with pytest.raises(StoreError, match="lock"):
                other.write(add_one)

        counter.write(keep)
        assert other.write(add_one) == 2


async def test_those_who_wait_for_the_same_lock_wait_together(database_url: str, counter: Database) -> None:
    locked, leave = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        add_one(connection)
        locked.set()
        leave.wait(60)

    holder = threading.Thread(target=counter.write, args=[hold])
    with Database.open(database_url, lock_timeout_s=1.5) as other:
        holder.start()
        await asyncio.to_thread(locked.wait, 60)
        try:
            # One after the other, forty waits would take a minute on the one writing thread of SQLite.
            async with asyncio.timeout(30):
                failed = await asyncio.gather(*(other.awrite(add_one) for _ in range(40)), return_exceptions=True)
        finally:
            leave.set()
            holder.join()
        assert {type(error) for error in failed} == {StoreError}
        assert await other.awrite(add_one) == 2


def test_everyone_has_the_same_clock(database: Database) -> None:
    first = database.read(database.now)
    second = database.write(database.now)

    assert 1.7e9 < first <= second


def test_a_row_may_be_inserted_or_changed(database: Database) -> None:
    row = {"id": "a", "name": "one", "secret_sha256": "", "created_at": 0.0, "models": "[]", "agents": "[]"}

    def put(connection: Connection) -> None:
        insert = insert_into(connection, clients).values(row)
        connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"name": "another"}))

    database.write(put)
    database.write(put)

    rows = database.read(lambda connection: connection.execute(clients.select()).all())
    assert [row.name for row in rows] == ["another"]


WRITER = textwrap.dedent("""
    import sys
    from sqlalchemy import text
    from storage.database import Database

    with Database.open(sys.argv[1]) as database:
        print(0, flush=True)
        first = int(sys.argv[2])
        for n in range(first, first + 10_000):
            database.write(lambda connection, n=n: connection.execute(text(f"INSERT INTO kept VALUES ({n})")) and None)
            print(n, flush=True)
""")


def test_a_process_that_is_killed_loses_nothing_that_it_acknowledged(database_url: str) -> None:
    def kept(database: Database) -> list[int]:
        return list(database.read(lambda c: c.execute(text("SELECT n FROM kept ORDER BY n")).scalars().all()))

    with Database.open(database_url) as database:
        database.write(sql("CREATE TABLE kept (n BIGINT PRIMARY KEY)"))
    rounds = random.Random(5)
    last = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url, str(last + 1)],
            cwd=ROOT,
            env={"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout
            lines = [writer.stdout.readline() for _ in range(rounds.randrange(1, 60))]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout
            acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        assert writer.returncode == -signal.SIGKILL

        with Database.open(database_url) as database:
            found = kept(database)
        # At most the one write that was under way is there without having been acknowledged.
        assert found == list(range(1, len(found) + 1))
        assert max(acknowledged, last) <= len(found)
        last = len(found)
    assert last > 0


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "understudy.db"
    with Database.open(path) as database:
        database.write(sql("CREATE TABLE t (n BIGINT)"))
        files = [path, *path.parent.glob("understudy.db-*")]

        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    path.touch(0o644)
    path.chmod(0o644)
    with Database.open(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_commit_to_a_file_is_on_the_disk(tmp_path: Path) -> None:
    full = 2
    with Database.open(tmp_path / "understudy.db") as database:
        settings = [
            database.write(lambda c, name=name: c.execute(text(f"PRAGMA {name}")).scalar())  # type: ignore[misc]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert settings == ["wal", full, 1]


def test_a_new_file_that_another_program_is_just_writing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "understudy.db"
    another = sqlite3.connect(path, isolation_level=None)
    another.execute("BEGIN IMMEDIATE")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        another.execute("COMMIT")

    # SQLite does not wait by itself before it changes a journal's mode.
    monkeypatch.setattr(time, "sleep", wait)
    with Database.open(path) as database:
        assert database.read(lambda connection: connection.execute(text("PRAGMA journal_mode")).scalar()) == "wal"
    another.close()

    assert len(waits) == 1


def test_a_file_may_be_named_by_a_url(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path}/named.db"):
        assert (tmp_path / "named.db").exists()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        pytest.param("mysql://someone:hidden@host/name", "not mysql", id="another kind of database"),
        pytest.param("sqlite:///:memory:", "not sqlite", id="a database that is no file"),
        pytest.param("://hidden", "no URL", id="no URL at all"),
        pytest.param("postgresql://someone:hidden@127.0.0.1:1/name", "cannot be used", id="nobody there"),
        pytest.param("postgresql://127.0.0.1:1/name?user=me&password=hidden", "cannot be used", id="in the query"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_error_without_its_password(where: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as raised:
        Database.open(where)

    assert "hidden" not in str(raised.value)


def test_a_server_that_a_network_swallows_is_given_up_within_seconds_unless_its_address_says_otherwise(
    postgres: Postgres,
) -> None:
    def limits(connection: Connection) -> dict[str, str]:
        driver: Any = connection.connection.driver_connection
        return dict(driver.info.get_parameters())

    url = postgres.new_database()
    with Database.open(url) as database, Database.open(f"{url}&tcp_user_timeout=5000") as other:
        told, otherwise = database.read(limits), other.read(limits)

    assert (told["keepalives_idle"], told["tcp_user_timeout"]) == ("10", "20000")
    assert (otherwise["keepalives_idle"], otherwise["tcp_user_timeout"]) == ("10", "5000")


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    path.write_text("Dear diary, " * 100)

    with pytest.raises(StoreError, match="no database"):
        Database.open(path)


def test_a_missing_table_is_a_store_error(database: Database) -> None:
    with pytest.raises(StoreError, match="nothing"):
        database.read(sql("SELECT * FROM nothing"))


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="file that it can write"):
        Database.open(tmp_path / "file" / "understudy.db")


def test_without_the_driver_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(StoreError, match=r"install understudy\[postgresql\]"):
        Database.open("postgresql://someone@host/name")


def test_an_error_shows_no_values(database: Database) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "never shown"})

    with pytest.raises(Exception, match="nowhere") as raised:
        database.write(broken)

    assert "never shown" not in f"{raised.value} {raised.value.__cause__}"


def test_a_file_stays_readable_to_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    with Database.open(path):
        pass
    connection = sqlite3.connect(path)
    (number,) = connection.execute("SELECT max(number) FROM schema_version").fetchone()
    connection.close()

    assert number >= 1
