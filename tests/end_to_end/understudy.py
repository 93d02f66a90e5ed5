"""Understudy as a person starts it: the command in a clean environment, as a process of its own."""

import atexit
import functools
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import WeakSet

import openai

from auth.certificates.authority import FOLDER, Authority
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).with_name("apps")
BIN = Path(sys.executable).parent
UNDERSTUDY = str(BIN / "understudy")


def clean_environment(home: Path, base_url: str | None = None, **more: str) -> dict[str, str]:
    """Return an environment that nothing of this machine's reaches, least of all a credential.

    Unless a test says otherwise, no process of Claude Code is started ahead: most proxies answer one turn or none.
    """
    home.mkdir(parents=True, exist_ok=True)
    data = home / "data"
    if not data.exists():
        shutil.copytree(authorities(), data / FOLDER)
    env = {
        "HOME": str(home),
        "UNDERSTUDY_DATA_DIR": str(data),
        "UNDERSTUDY_SPARE_PROCESSES": "0",
        "PATH": os.environ["PATH"],
    }
    if base_url is not None:
        env |= {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "dummy"}
    return env | more


@functools.cache
def authorities() -> Path:
    """Return a folder with a certificate authority, for the data of each Understudy: its keys take a while to make."""
    folder = tempfile.mkdtemp(prefix="understudy-authority-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority.open(Path(folder)).directory


def run(command: Sequence[str], env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``understudy run -- COMMAND`` to its end."""
    return subprocess.run(
        [UNDERSTUDY, "run", *options, "--", *command],
        env=env,
        cwd=env["HOME"],
        capture_output=True,
        text=True,
        timeout=GUARD_S,
    )


class Log:
    """What a process writes on a stream, collected as it comes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._changed = threading.Condition()
        self._text = ""
        self._thread = threading.Thread(target=self._collect, name="a log")
        self._ended = False
        self._thread.start()

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self._text

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """Wait until something matches; raises when the stream ends first."""
        match: re.Match[str] | None = None

        def found() -> bool:
            nonlocal match
            match = re.compile(pattern).search(self._text, start)
            return match is not None or self._ended

        with self._changed:
            self._changed.wait_for(found, timeout=GUARD_S)
        assert match is not None, f"no {pattern!r} in:\n{self._text}"
        return match

    def close(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(GUARD_S)
        self._stream.close()

    def _collect(self) -> None:
        while data := self._stream.read1():
            with self._changed:
                self._text += data.decode("utf-8", "replace")
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Started:
    """A command that is running, in a process group of its own. Leaving the context ends it, whatever it is at."""

    all: ClassVar[WeakSet["Started"]] = WeakSet()
    """Every one that a test can still reach, for tests/plugins/program_logs.py."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self.name = Path(command[0]).name
        self.home = Path(env["HOME"])
        self.process = subprocess.Popen(
            command, env=env, cwd=self.home, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.out = Log(self.process.stdout)
        self.err = Log(self.process.stderr)
        Started.all.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and return its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(GUARD_S)
        finally:
            for pid in processes.living_in(self.home):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.out.close()
            self.err.close()


class Proxy(Started):
    """A running proxy."""

    READY = r"the proxy listens at http://([\d.]+):(\d+)"

    def __init__(self, command: Sequence[str], env: dict[str, str], ready: str = READY) -> None:
        super().__init__(command, env)
        try:
            self.host, port = self._ready(ready)
        except BaseException:
            self.end()
            raise
        self.port = int(port)
        self.url = f"http://{self.host}:{self.port}"
        # Each set of hosts has an authority of its own; this proxy's is the one that was looked at last.
        made = (Path(env["UNDERSTUDY_DATA_DIR"]) / "ca").rglob("mitmproxy-ca-cert.pem")
        self.authority = max(made, key=lambda path: path.stat().st_mtime, default=Path())

    def _ready(self, pattern: str) -> tuple[str, str]:
        host, port = self.err.wait_for(pattern).groups()
        return host, port

    def tls(self) -> ssl.SSLContext:
        """Return a context that trusts this proxy's authority and no other."""
        return ssl.create_default_context(cafile=self.authority)

    def openai(self, **options: Any) -> openai.OpenAI:
        """Return the OpenAI client, sent through the proxy, that makes each request once."""
        http = openai.DefaultHttpxClient(proxy=self.url, verify=self.tls(), timeout=GUARD_S)
        return openai.OpenAI(api_key="sk-of-the-app", http_client=http, **{"max_retries": 0, **options})

    def wait_for_end_of_turn(self, since: int, how: str = r"\w+") -> str:
        """Wait until the log, from a place on, tells how a turn has ended: from then on its process asks no more."""
        return self.err.wait_for(rf"turn ({how}) after", since)[1]


def serve(env: dict[str, str], *options: str) -> Proxy:
    """Start ``understudy serve`` on a free port."""
    return Proxy([UNDERSTUDY, "serve", "--listen", "127.0.0.1:0", "--log-level", "debug", *options], env)
