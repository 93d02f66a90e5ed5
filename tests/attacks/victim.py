"""A proxy that is attacked, and those who attack it: by raw sockets, since no client sends what they send."""

import contextlib
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment, serve

MIB = 1024 * 1024
HOST = "api.openai.com"
PATH = "/v1/chat/completions"


class Victim:
    """A running proxy with both doors and one key. ``settings`` are its settings, by their names."""

    def __init__(self, home: Path, *, keys: bool = True, command: tuple[str, ...] = (), **settings: Any) -> None:
        named = {f"UNDERSTUDY_{name.upper()}": str(value) for name, value in settings.items()}
        self.env = clean_environment(home, UNDERSTUDY_SPARE_PROCESSES="0", **named)
        self.keys = keys
        self.key = self.run("keys", "make", "ann") if keys else "sk-any"
        options = ["--rehearsal", "--base-url", "127.0.0.1:0", *(["--client-auth"] if keys else [])]
        if command:
            program = [*command, UNDERSTUDY, "serve", "--listen", "127.0.0.1:0", *options]
            self.proxy = Proxy(program, self.env)
        else:
            self.proxy = serve(self.env, *options)
        self.door = ("127.0.0.1", int(self.proxy.err.wait_for(r"OPENAI_BASE_URL=http://[\d.]+:(\d+)")[1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.end()

    def run(self, *command: str) -> str:
        """Run an Understudy command and return what it prints."""
        done = subprocess.run(
            [UNDERSTUDY, *command], env=self.env, cwd=self.env["HOME"], capture_output=True, text=True, timeout=GUARD_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def resident(self) -> int:
        """Return how much memory the proxy has now, in bytes."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Return how much memory the proxy had at most, since it started or :meth:`forget_peak`."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        """Let :meth:`peak` begin anew (proc(5), clear_refs)."""
        if sys.platform == "linux":
            Path(f"/proc/{self.proxy.process.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.proxy.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def open(self, door: tuple[str, int] | None = None) -> socket.socket:
        """Connect with a door: the base-URL door, unless told otherwise."""
        return socket.create_connection(door or self.door, timeout=GUARD_S)

    def secure(self, alpn: str = "http/1.1") -> ssl.SSLSocket:
        """Connect with the base-URL door by TLS."""
        tls = self.proxy.tls()
        tls.set_alpn_protocols([alpn])
        return tls.wrap_socket(self.open(), server_hostname=HOST)

    def head(self, *headers: str, key: bool = True, method: str = "POST", path: str = PATH) -> bytes:
        """Return the head of a request at the base-URL door."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *headers]
        return "\r\n".join([*lines, *([f"Authorization: Bearer {self.key}"] if key else []), "", ""]).encode()

    def innocent(self, **more: Any) -> httpx.Response:
        """Ask something with the key, on a connection of its own."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.door[1]}", headers=headers, timeout=GUARD_S) as client:
            return client.post("/v1/conversations", json={"metadata": {"who": "innocent"}}, **more)


def flood(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again, until the other side has enough or so many bytes are sent. Returns how many."""
    sent = 0
    connection.settimeout(GUARD_S)
    with contextlib.suppress(OSError):
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    return sent


def head_on(connection: socket.socket) -> bytes:
    """Return the head of an answer, and nothing of what follows it. Raises ConnectionError if the connection ends."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        if not more:
            raise ConnectionError(f"the connection ended after {head!r}")
        head += more
    return head


def answer_on(connection: socket.socket, answer: bytes = b"") -> bytes:
    """Return all that is answered, up to the end of the connection or of one answer with a length.

    ``answer`` is what was read of it before.
    """
    connection.settimeout(GUARD_S)
    with contextlib.suppress(OSError):
        while more := connection.recv(65536):
            answer += more
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length is not None and len(body) >= int(length[1]):
                break
    return answer


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def chunk(data: bytes) -> bytes:
    """Return data as one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)
