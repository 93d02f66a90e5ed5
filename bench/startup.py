"""How long the commands take to start, each compared with `mitmdump --version` in the same round.

`mitmdump --version` imports what mitmproxy's own proxy imports, prints a few lines and ends.
"""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.first_token import UNDERSTUDY, clean
from bench.stand import free_ports
from bench.statistics import Summary, ratios, summarise

MITMDUMP = "mitmdump --version"
CASSETTE = Path(__file__).parents[1] / "fixtures" / "exchanges" / "chat_streamed.jsonl"
STARTED_S = 60.0
"""How long a proxy may take until it answers."""

AIMS: dict[str, float | None] = {
    MITMDUMP: None,
    "--help": 0.6,
    "show": 0.6,
    "config": 0.6,
    "env": 0.6,
    "run --replay": 1.3,
    "run --rehearsal": 2.0,
    "serve": 1.5,
}
"""What is measured, and its aim: at most so many times what `mitmdump --version` takes."""


@dataclass(frozen=True, slots=True)
class Row:
    """How long one command took, in seconds, and its ratio to `mitmdump --version`, round by round."""

    name: str
    seconds: Summary
    ratio: Summary
    aim: float | None


def measure(rounds: int) -> list[Row]:
    """Measure each command once in each round, one after the other. The first round warms the disk's cache."""
    with tempfile.TemporaryDirectory(prefix="understudy-startup-") as folder:
        home = Path(folder) / "home"
        environment = {name: value for name, value in clean(home).items() if name != "PYTHONDONTWRITEBYTECODE"}
        commands = {
            MITMDUMP: [str(Path(sys.executable).with_name("mitmdump")), "--version"],
            "--help": [UNDERSTUDY, "--help"],
            "show": [UNDERSTUDY, "show", str(CASSETTE)],
            "config": [UNDERSTUDY, "config"],
            "env": [UNDERSTUDY, "env"],
            "run --replay": [UNDERSTUDY, "run", "--replay", str(CASSETTE), "--", "true"],
            "run --rehearsal": [UNDERSTUDY, "run", "--rehearsal", "--", "true"],
        }
        work: dict[str, Callable[[], float]] = {
            **{name: _ended(command, environment, home) for name, command in commands.items()},
            "serve": lambda: until_it_answers(environment, home),
        }
        taken: dict[str, list[float]] = {name: [] for name in AIMS}
        for number in range(rounds + 1):
            for name, times in taken.items():
                seconds = work[name]()
                if number:
                    times.append(seconds)
    return [
        Row(name, summarise(times), summarise(ratios(times, taken[MITMDUMP])), AIMS[name])
        for name, times in taken.items()
    ]


def _ended(command: list[str], environment: dict[str, str], home: Path) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        subprocess.run(command, env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return time.perf_counter() - began

    return run


def until_it_answers(environment: dict[str, str], home: Path) -> float:
    """Start `understudy serve` on a rehearsal and return after how many seconds it answers a request.

    Raises TimeoutError.
    """
    (port,) = free_ports(1)
    command = [UNDERSTUDY, "serve", "--rehearsal", "--listen", f"127.0.0.1:{port}"]
    began = time.perf_counter()
    with (
        (home / "serve.log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as program,
    ):
        try:
            while not _answers(port):
                if time.perf_counter() - began > STARTED_S:
                    raise TimeoutError((home / "serve.log").read_text(encoding="utf-8", errors="replace"))
                time.sleep(0.005)
            return time.perf_counter() - began
        finally:
            program.terminate()


def _answers(port: int) -> bool:
    """Whether a proxy answers a request for the list of models, which asks no Claude."""
    request = b"GET http://api.openai.com/v1/models HTTP/1.1\r\nhost: api.openai.com\r\nconnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=STARTED_S) as client:
        client.sendall(request)
        return client.recv(12) == b"HTTP/1.1 200"
    return False
