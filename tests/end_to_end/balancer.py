"""A load balancer before several proxies, run with the configuration that docs/scale has."""

import os
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import ROOT, Started

CONFIGURATIONS = ROOT / "docs" / "scale"
NAMES = ("one", "two", "three")
"""The proxies, as the configurations call them."""

type Address = tuple[str, int]


def program(name: str) -> str | None:
    """Return where a program is. Debian keeps those of servers off some PATHs."""
    return shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def free_port() -> int:
    """Return a port that nothing listens on; neither program can be told to take one that is free."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
        return port


class Balancer(Started):
    """A load balancer in the foreground. ``log`` is what it writes of each request.

    ``proxies`` says for each name and port of the configuration where that proxy really listens. ``doors`` are the
    ports that the configuration opens, by the numbers that it has there.
    """

    def __init__(self, kind: str, folder: Path, proxies: Mapping[tuple[str, int], Address]) -> None:
        folder.mkdir()
        self._kind = kind
        text = (CONFIGURATIONS / {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[kind]).read_text(encoding="utf-8")
        for (name, port), (host, real) in proxies.items():
            text = _replace(rf"\b{name}:{port}\b", f"{host}:{real}", text)
        opened = r"^( *(?:bind :|listen ))(\d+)(;?)$"
        self.doors = {int(match[2]): ("127.0.0.1", free_port()) for match in re.finditer(opened, text, re.MULTILINE)}
        for port, (host, real) in self.doors.items():
            text = _replace(rf"^( *(?:bind |listen )):?{port}(;?)$", rf"\g<1>{host}:{real}\g<2>", text)
        if kind == "nginx":
            # Debian's own places for these are for the system's nginx alone.
            places = "".join(
                f"    {place}_temp_path {folder}/{place};\n"
                for place in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            text = _replace(r"^http \{\n", f"http {{\n{places}", text)
        path = folder / "configuration"
        path.write_text(text, encoding="utf-8")
        where = program(kind)
        assert where is not None
        commands = {
            "haproxy": [where, "-db", "-f", str(path)],
            "nginx": [where, "-p", str(folder), "-c", str(path), "-g", f"daemon off; pid {folder}/pid;"],
        }
        super().__init__(commands[kind], {"HOME": str(folder), "PATH": os.environ["PATH"]})
        try:
            self._wait()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def url(self, port: int) -> str:
        """Return the URL of the door that the configuration opens at this port."""
        host, real = self.doors[port]
        return f"http://{host}:{real}"

    def shown(self, address: Address, name: str) -> str:
        """Return how answers name the proxy that gave them: HAProxy by its name, nginx by its address."""
        return name if self._kind == "haproxy" else f"{address[0]}:{address[1]}"

    def _wait(self) -> None:
        """Wait until every door is open. Raises what it says where it does not start."""
        for address in self.doors.values():
            while True:
                try:
                    socket.create_connection(address, timeout=GUARD_S).close()
                    break
                except ConnectionRefusedError:
                    assert self.process.poll() is None, self.err.text + self.out.text


def _replace(pattern: str, by: str, text: str) -> str:
    """Replace every match; that there is none is an error, so that the configurations stay what is tested."""
    text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    assert count, f"no {pattern} in the configuration"
    return text
