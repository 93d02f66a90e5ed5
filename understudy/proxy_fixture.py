"""The program that runs the proxy, seen from pytest: how it is found, started, asked and ended.

Only the standard library is imported here: the plugin may be installed without the rest of Understudy.
"""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from .recording_modes import PROTOCOL, CannotStartError

COMMAND = "pytest-proxy"
"""The hidden command of ``understudy`` that runs the proxy."""

HOST = "127.0.0.1"

START_S = 600.0
"""How long the program may take to say where it listens. ``uvx`` may download Understudy first."""

POLL_S = 0.005
"""How often the plugin looks whether the program has said so."""

MAX_HELLO_BYTES = 64 * 1024

ANSWER_S = 120.0
"""How long the program may take to answer: it ends Claude Code's processes within seconds."""

END_S = 15.0
"""How long the program may take to end by itself when the connection is closed."""

NOT_GIVEN = frozenset({"PYTEST_CURRENT_TEST", "PYTHONPATH", "PYTHONHOME"})
"""Variables that the program does not get. The first changes in each test, and the others are about the tests' Python,
which is not always the program's."""

SHOWN_STDERR_LINES = 5


class Environment(Protocol):
    """What :meth:`Running.apply` sets variables with: a ``pytest.MonkeyPatch``."""

    def setenv(self, name: str, value: str) -> None:
        """Set a variable, until it is put back."""


def find_command(named: str = "") -> list[str]:
    """Return the command line that starts Understudy. Raises CannotStartError if there is none.

    ``named`` is what the person has configured. Without it this is, in this order: the ``understudy`` of the tests'
    environment, that on PATH, and ``uvx understudy``.
    """
    if named:
        words = [word.strip("\"'") for word in shlex.split(named, posix=False)]
        return shlex.split(named) if os.name == "posix" else words
    if found := shutil.which("understudy", path=sysconfig.get_path("scripts")) or shutil.which("understudy"):
        return [found]
    if uvx := shutil.which("uvx"):
        return [uvx, "understudy"]
    raise CannotStartError(
        "there is no `understudy` in this environment or on PATH, and no `uvx`. Install Understudy, for example with"
        " `uv tool install`, or name its command with the ini option understudy_command"
    )


class Program:
    """A running ``understudy pytest-proxy``. It plays one cassette at a time. Raises CannotStartError."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self.is_busy = False
        self.owner = os.getpid()
        """The process that started it; a fork of that process has the same connection, and must not use it."""
        self._command = [*command, COMMAND]
        self._environ = environment()
        with contextlib.ExitStack() as stack:
            self._stderr: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            folder = tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True)
            # A file, because reading from a pipe with a time limit needs a thread on Windows.
            self._stdout = Path(stack.enter_context(folder), "stdout")
            stdout = stack.enter_context(self._stdout.open("wb"))
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=cwd,
                    env=self._environ,
                    stdin=subprocess.PIPE,
                    stdout=stdout,
                    stderr=self._stderr,
                    # Ctrl-C is for pytest. The program ends when pytest has put everything away.
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                raise CannotStartError(f"{self._named} cannot be started: {error.strerror}") from None
            stack.callback(self._end)
            self._connection = stack.enter_context(self._connect())
            self._lines = stack.enter_context(self._connection.makefile("rb"))
            self._stack = stack.pop_all()

    @property
    def _named(self) -> str:
        return f"`{' '.join(self._command)}`"

    def _connect(self) -> socket.socket:
        """Agree on the protocol, and connect. Raises CannotStartError."""
        token = secrets.token_urlsafe(32)
        assert self._process.stdin  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError), self._process.stdin as stdin:
            stdin.write(json.dumps({"protocol": PROTOCOL, "token": token}).encode() + b"\n")
        line = self._first_line()
        try:
            told = json.loads(line)
            protocol, version, port = told["protocol"], told["version"], told.get("port")
        except (ValueError, KeyError, TypeError, AttributeError):
            why = self._last_words() or line.decode(errors="replace").strip() or "it said nothing"
            raise CannotStartError(
                f"{self._named} does not run the proxy: {why}. If its Understudy is older than this plugin, update it"
            ) from None
        if protocol != PROTOCOL or not isinstance(port, int):
            raise CannotStartError(
                f"the pytest plugin and {self._named} do not fit together: the plugin speaks protocol {PROTOCOL},"
                f" Understudy {version} speaks protocol {protocol}. Update the older one of the two"
            )
        try:
            connection = socket.create_connection((HOST, port), timeout=ANSWER_S)
        except OSError as error:
            raise CannotStartError(f"{self._named} cannot be reached: {error.strerror or error}") from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(f"{token}\n".encode())
        return connection

    def _first_line(self) -> bytes:
        """Return the first line of the program's stdout. Raises CannotStartError if none comes in time."""
        deadline = time.monotonic() + START_S
        while True:
            has_ended = self._process.poll() is not None
            with self._stdout.open("rb") as stdout:
                said = stdout.read(MAX_HELLO_BYTES)
            if b"\n" in said or has_ended or len(said) >= MAX_HELLO_BYTES:
                return said.partition(b"\n")[0]
            if time.monotonic() > deadline:
                self._process.kill()
                raise CannotStartError(f"{self._named} did not say within {START_S:g} s where it listens")
            time.sleep(POLL_S)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Send a command and return the fields of its answer. Raises CannotStartError."""
        try:
            self._connection.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            line = self._lines.readline()
        except (OSError, ValueError):
            line = b""
        if not line:
            self.close()
            raise CannotStartError(f"{self._named} has ended: {self._last_words() or 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CannotStartError(answer["error"])
        return answer

    def changes(self) -> dict[str, Any]:
        """Return how the environment differs from that in which the program was started."""
        now = environment()
        return {
            "set": {name: value for name, value in now.items() if self._environ.get(name) != value},
            "unset": [name for name in self._environ if name not in now],
        }

    @property
    def is_usable(self) -> bool:
        """Whether it can play another cassette for this process."""
        return not self.is_busy and self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the program, and wait for its end."""
        if self.owner == os.getpid():
            self._stack.close()

    def _end(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words = self._read_last_words()

    _words = ""

    def _last_words(self) -> str:
        """Return the last lines of its stderr, as one line. It ends the program first."""
        if not self._words:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self._words = self._read_last_words()
        return self._words

    def _read_last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").split("\n")
            return " ".join([line.strip() for line in lines if line.strip()][-SHOWN_STDERR_LINES:])
        return self._words


def environment() -> dict[str, str]:
    """Return the variables of this process that the program gets."""
    return {name: value for name, value in os.environ.items() if name not in NOT_GIVEN}


class Programs:
    """The programs of a pytest process: one, and more only where cassettes are played at the same time."""

    def __init__(self, command: str, cwd: Path) -> None:
        self._command = command
        self._cwd = cwd
        self._programs: list[Program] = []

    def take(self) -> Program:
        """Return a program that plays nothing. Raises CannotStartError."""
        for program in self._programs:
            if program.is_usable:
                return program
        program = Program(find_command(self._command), self._cwd)
        self._programs.append(program)
        return program

    def close(self) -> None:
        """End all."""
        while self._programs:
            self._programs.pop().close()


class Running:
    """A running proxy: where it is, what it plays, and what came through it so far."""

    def __init__(self, program: Program, cassette: Path, url: str, changes: Mapping[str, str]) -> None:
        self.url = url
        self.cassette = cassette
        self.environment = dict(changes)
        """What programs need to go through the proxy."""
        self.passed = False
        """Whether every test that asked has passed: only then does a new cassette replace an old one."""
        self._program = program
        self._final: dict[str, Any] | None = None

    def apply(self, patch: Environment) -> None:
        """Give the environment to this process, and so to the programs that it starts."""
        for name, value in self.environment.items():
            patch.setenv(name, value)

    @property
    def missed(self) -> list[str]:
        """The requests that nothing in the cassette answered."""
        return list(self._state()["missed"])

    @property
    def answered(self) -> int:
        """How many answers came from the cassette."""
        return int(self._state()["answered"])

    @property
    def asked(self) -> int:
        """How many requests were answered, from the cassette or live."""
        return int(self._state()["asked"])

    @property
    def not_kept(self) -> list[str]:
        """The live answers that failed at the proxy, and so are not in the cassette; each with its reason."""
        return list(self._state()["not_kept"])

    def mark(self) -> list[int]:
        """Return how far it is: what :meth:`report` can begin at."""
        return list(self._state()["mark"])

    def report(self, since: Sequence[int] = ()) -> dict[str, list[str]]:
        """Return where each answer came from, and what the proxy warned of, beginning at a mark.

        Each is a list of lines, by the name of its section.
        """
        told = self._final or self._program.ask("report", since=list(since))
        sections = {"where the answers came from": told["answers"], "what the proxy warned of": told["log"]}
        return {name: lines for name, lines in sections.items() if lines}

    def lines(self) -> list[str]:
        """Return what the replay came to, line by line."""
        return list(self._state()["lines"])

    def end(self) -> str:
        """End it and return what kept a new cassette from its place, "" for nothing. Raises CannotStartError."""
        self._final = self._program.ask("end", passed=self.passed)
        self._program.is_busy = False
        return str(self._final["problem"])

    def _state(self) -> dict[str, Any]:
        return self._final or self._program.ask("state")


@contextlib.contextmanager
def running(programs: Programs, cassette: Path, mode: str, root: Path) -> Iterator[Running]:
    """Run the proxy on a cassette while the block runs. Raises CannotStartError.

    ``mode``: one of MODES. ``root``: files are named from this folder on. With ``again`` the new cassette replaces the
    old one when the block has ended, if something was asked, nothing failed at the proxy, and the tests have passed.
    """
    program = programs.take()
    program.is_busy = True
    try:
        told = program.ask("begin", cassette=str(cassette), mode=mode, root=str(root), environment=program.changes())
    except CannotStartError:
        program.is_busy = False
        raise
    started = Running(program, cassette, told["url"], told["environment"])
    try:
        yield started
    except BaseException:
        with contextlib.suppress(CannotStartError):
            started.end()
        raise
    if problem := started.end():
        raise CannotStartError(problem)
