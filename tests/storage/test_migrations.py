"""The steps are applied once each, in order, by one program at a time; and the tables are what the queries think."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from storage.database import Database, NewerSchemaError, StoreError
from storage.migrations import MIGRATIONS, Migration
from storage.tables import metadata
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]

OPENER = """
import sys
from storage.database import Database

print("ready", flush=True)
sys.stdin.readline()
Database.open(sys.argv[1]).close()
"""


def step(statement: str) -> Migration:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    return work


def applied(database: Database) -> list[int]:
    query = text("SELECT number FROM schema_version ORDER BY number")
    return list(database.read(lambda connection: connection.execute(query).scalars().all()))


def has(table: str) -> Callable[[Connection], bool]:
    return lambda connection: inspect(connection).has_table(table)


def test_steps_are_applied_in_order_and_once(database_url: str) -> None:
    first = step("CREATE TABLE one (n BIGINT)")
    second = step("ALTER TABLE one ADD COLUMN m BIGINT")

    for migrations in ((first,), (first, second), (first, second)):
        with Database.open(database_url, migrations=migrations) as database:
            found = applied(database)

    assert found == [1, 2]


def test_a_step_that_fails_leaves_the_database_as_it_was(database_url: str) -> None:
    steps = (step("CREATE TABLE one (n BIGINT)"), step("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(Exception, match="nowhere"):
        Database.open(database_url, migrations=steps)

    with Database.open(database_url, migrations=()) as database:
        assert applied(database) == []
        assert not database.read(has("one"))


def test_a_database_of_a_newer_program_is_refused_and_left_alone(database_url: str) -> None:
    later = step("CREATE TABLE of_tomorrow (n BIGINT)")
    Database.open(database_url, migrations=(*MIGRATIONS, later)).close()

    with pytest.raises(NewerSchemaError, match=rf"schema {len(MIGRATIONS) + 1}, .* up to {len(MIGRATIONS)}"):
        Database.open(database_url)
    with Database.open(database_url, migrations=(*MIGRATIONS, later)) as database:
        assert database.read(has("of_tomorrow"))


def test_dollars_that_were_booked_by_a_processs_whole_life_become_estimates(database_url: str) -> None:
    names = "id, name, secret_sha256, created_at, models, agents"
    client = f"INSERT INTO clients ({names}) VALUES ('c', 'ann', 'x', 0, '[]', '[]')"
    spent = "INSERT INTO spending VALUES ('c', '2026-11-20', 3, 1200, 5000, 1000, 0)"
    with Database.open(database_url, migrations=MIGRATIONS[:2]) as database:
        for statement in (client, spent):
            database.write(step(statement))

    with Database.open(database_url) as database:
        query = text("SELECT requests, tokens, nanodollars, nanodollars_estimated FROM spending")
        found = database.read(lambda connection: connection.execute(query).one())

    assert tuple(found) == (3, 1200, 5000, 5000)


def test_only_one_of_several_programs_makes_the_tables(database_url: str) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, database_url],
            cwd=ROOT,
            env={"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for opener in openers:
        assert opener.stdout
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin
        opener.stdin.write("now\n")
        opener.stdin.flush()
    errors = [opener.communicate()[1] for opener in openers]

    assert errors == [""] * len(openers)
    with Database.open(database_url) as database:
        assert applied(database) == list(range(1, len(MIGRATIONS) + 1))


def test_a_program_waits_while_another_makes_the_tables(postgres: Postgres) -> None:
    url = postgres.new_database()
    inside, may_end = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        inside.set()
        assert may_end.wait(60)
        connection.execute(text("CREATE TABLE one (n BIGINT)"))

    def open_it() -> list[int]:
        with Database.open(url, migrations=(slow,)) as database:
            return applied(database)

    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    watcher = create_engine(url)
    with ThreadPoolExecutor(2) as threads, watcher.connect() as connection:
        first = threads.submit(open_it)
        assert inside.wait(60)
        second = threads.submit(open_it)
        while not connection.execute(waiting).scalar():
            connection.rollback()
        may_end.set()

        assert first.result() == second.result() == [1]
    watcher.dispose()


def test_the_tables_are_what_the_queries_take_them_for(database: Database) -> None:
    def made(connection: Connection) -> dict[str, set[tuple[str, type, bool]]]:
        found = inspect(connection)
        return {
            table: {(c["name"], c["type"].python_type, c["nullable"]) for c in found.get_columns(table)}
            for table in found.get_table_names()
            if table != "schema_version"
        }

    taken_for = {
        t.name: {(c.name, c.type.python_type, bool(c.nullable)) for c in t.columns} for t in metadata.tables.values()
    }

    assert database.read(made) == taken_for


def test_a_row_of_nobody_is_refused(database: Database) -> None:
    statement = "INSERT INTO spending VALUES ('nobody', '2026-11-20', 0, 0, 0, 0, 0)"

    with pytest.raises(Exception, match=r"(?i)foreign key") as raised:
        database.write(step(statement))
    assert not isinstance(raised.value, StoreError)
