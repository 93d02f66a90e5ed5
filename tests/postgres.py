"""A real PostgreSQL in a temporary folder, and the two kinds of database that tests of the store run on.

A conftest imports the fixtures that it offers. However many do, a test run starts one server: it is kept with pytest's
configuration and stopped with it.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from storage.database import Database

USER = "understudy"


@dataclass(slots=True)
class Postgres:
    """A server that listens on a socket in ``folder`` and nowhere else."""

    folder: Path
    programs: Path
    _numbers: Iterator[int] = field(default_factory=count)
    _made: bool = False

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def start(self) -> None:
        """Start the server, again after :meth:`stop` with all that it had."""
        if not self._made:
            self._run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync", "--pgdata=data")
            self._made = True
        # Nothing here asks what outlives the server's machine.
        settings = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "start", "--wait", "--pgdata=data", "--log=log", f"--options={settings}")

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it was never started
            self._run("pg_ctl", "stop", "--wait", "--mode=immediate", "--pgdata=data")

    def _run(self, program: str, *arguments: str) -> None:
        # The server refuses to run as root, and takes over what the program that starts it writes to.
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                [self.programs / program, *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                user=nobody.pw_uid if nobody else None,
                group=nobody.pw_gid if nobody else None,
                extra_groups=[] if nobody else None,
            )


SERVER = pytest.StashKey[Postgres]()


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs. Debian keeps those of a server off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """The server of this run of tests."""
    stash = request.config.stash
    if SERVER not in stash:
        where = programs()
        if where is None:
            pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
        server = Postgres(Path(tempfile.mkdtemp(prefix="understudy-pg-")), where)
        if os.geteuid() == 0:
            shutil.chown(server.folder, "nobody")

        def end() -> None:
            server.stop()
            shutil.rmtree(server.folder)

        request.config.add_cleanup(end)
        server.start()
        stash[SERVER] = server
    return stash[SERVER]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database of each kind is: a test that asks for this runs on both."""
    if request.param == "sqlite":
        return str(tmp_path / "understudy.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database, open."""
    with Database.open(database_url) as database:
        yield database
