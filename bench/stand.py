"""The programs that a chaos run disturbs: a simulated API, a database and a proxy. Each can be stopped and restarted.

Their addresses stay the same, so that clients find them again. A stand ends its own processes, by their ids.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai

from bench.first_token import ROOT, UNDERSTUDY, clean
from tests.end_to_end.processes import living_in, read, still_there
from tests.postgres import Postgres, programs

STARTED_S = 60.0
"""How long a program may take until it listens."""
ENDED_S = 10.0
"""A process that outlives its proxy by this time counts as an orphan."""
DISK = "256m"
"""The size of the cassettes' own file system, if the system allows one."""
OPEN_FILES = 256
"""The largest number of open files of the proxy."""


class Stand:
    """A running proxy and a running API. ``database`` is None if PostgreSQL's programs are not installed."""

    def __init__(self, folder: Path, database: Postgres | None) -> None:
        self.database = database
        self.cassettes = folder / "cassettes"
        self.cassettes.mkdir()
        self.has_disk = os.geteuid() == 0 and mounted(self.cassettes)
        self.home = folder / "proxy"
        self._log = folder / "log"
        self._api_port, self._port, self._door_port = free_ports(3)
        self._api_environment = clean(folder / "api")
        self._environment = clean(self.home) | {
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self._api_port}",
            "ANTHROPIC_API_KEY": "rehearsal",
            "UNDERSTUDY_TIMEOUT_S": "20",
            "UNDERSTUDY_IDLE_TIMEOUT_S": "5",
            "UNDERSTUDY_MAX_PROCESSES": "4",
        }
        if database is not None:
            self._environment["UNDERSTUDY_STORE"] = database.new_database()
        self.api: subprocess.Popen[bytes] | None = None
        self.proxy: subprocess.Popen[bytes] | None = None
        self.doors = [("127.0.0.1", self._port), ("127.0.0.1", self._door_port)]

    def start_api(self) -> None:
        """Start the simulated API."""
        command = [sys.executable, "-m", "rehearsal", "--port", str(self._api_port), "--delay", "0.005"]
        self.api = self._start(command, self._api_environment, ROOT)

    def start_proxy(self) -> None:
        """Start the proxy. It records, and it may have only few open files."""
        command = [
            UNDERSTUDY, "serve", "--listen", f"127.0.0.1:{self._port}",
            "--base-url", f"127.0.0.1:{self._door_port}", "--record", f"{self.cassettes}/",
        ]  # fmt: skip
        limited = ["sh", "-c", f'ulimit -S -n {OPEN_FILES}; exec "$@"', "sh", *command]
        self.proxy = self._start(limited, self._environment, self.home)

    def _start(self, command: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        """Wait until the API and both addresses of the proxy accept connections. Raises TimeoutError."""
        async with asyncio.timeout(STARTED_S):
            for port in (self._api_port, self._port, self._door_port):
                while not await takes_connections(port):  # noqa: ASYNC110 - a port tells nobody by itself
                    await asyncio.sleep(0.05)

    def start_what_ended(self) -> list[str]:
        """Start again what has ended by itself, as a service manager does, and say what it was."""
        ended = []
        for name, program, start in (("proxy", self.proxy, self.start_proxy), ("API", self.api, self.start_api)):
            status = None if program is None else program.poll()
            if status is not None:
                ended.append(
                    f"{name} (by {signal.Signals(-status).name})" if status < 0 else f"{name} (status {status})"
                )
                start()
        return ended

    def claude(self) -> list[int]:
        """Return the `claude` processes that any proxy of this stand has started."""
        return [pid for pid in living_in(self.home) if Path((read(pid, "cmdline") or [""])[0]).name == "claude"]

    async def end_proxy(self, number: int) -> int:
        """End the proxy with a signal. Return how many that it started outlive it, which are then killed."""
        if self.proxy is None:
            return 0
        self.proxy.send_signal(number)
        await asyncio.to_thread(self.proxy.wait, STARTED_S)
        orphans = await asyncio.to_thread(still_there, living_in(self.home), ENDED_S)
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(orphans)

    def client(self, number: int) -> openai.AsyncOpenAI:
        """Return a client: an even one goes through the proxy, an odd one asks the base-URL door."""
        if number % 2:
            base_url = f"http://127.0.0.1:{self._door_port}/v1"
            return openai.AsyncOpenAI(api_key="sk-any", base_url=base_url, max_retries=0, timeout=30)
        tls = ssl.create_default_context(cafile=self.home / "data" / "ca" / "mitmproxy-ca-cert.pem")
        http = openai.DefaultAsyncHttpxClient(proxy=f"http://127.0.0.1:{self._port}", verify=tls, timeout=30)
        return openai.AsyncOpenAI(api_key="sk-any", http_client=http, max_retries=0)

    def log(self) -> str:
        """Return what the programs have written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Kill whatever is left."""
        for program in (self.proxy, self.api):
            if program is not None and program.poll() is None:
                program.kill()
                program.wait()
        for pid in living_in(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.has_disk:
            subprocess.run(["umount", "--lazy", self.cassettes], check=False)
            self.has_disk = False


@contextlib.asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """Start a stand, on PostgreSQL where its programs are installed, else on SQLite."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-chaos-")))
        database = stack.enter_context(postgres())
        it = Stand(folder, database)
        stack.callback(it.close)
        it.start_api()
        it.start_proxy()
        await it.ready()
        yield it


@contextlib.contextmanager
def postgres() -> Iterator[Postgres | None]:
    """Run a PostgreSQL of our own, None where its programs are not installed."""
    where = programs()
    if where is None:
        yield None
        return
    server = Postgres(Path(tempfile.mkdtemp(prefix="understudy-pg-")), where)
    try:
        if os.geteuid() == 0:
            shutil.chown(server.folder, "nobody")
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


async def takes_connections(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def mounted(folder: Path) -> bool:
    """Mount a small file system in memory, and say whether the system allowed it."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "understudy-chaos", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def resize(folder: Path, size: str) -> None:
    """Change how much a file system in memory may hold, in bytes or as `mount` writes it."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True, capture_output=True)


def limit(pid: int, kind: int, soft: int) -> None:
    """Set a soft limit of a running process; its hard limit stays. Raises OSError, ProcessLookupError."""
    _, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
