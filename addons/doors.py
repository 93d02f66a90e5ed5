"""Check the addresses that the proxy is going to listen at, and explain why one is not available.

They are checked before the proxy starts. So a port in use gives a one-line error instead of a partial start.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psutil
from mitmproxy.options import Options
from mitmproxy.proxy import mode_specs

from settings import write_address

type Protocol = Literal["tcp", "udp"]

KINDS: dict[Protocol, socket.SocketKind] = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}

# Windows has its own error numbers in addition to the usual ones.
IN_USE = (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE))
NOT_HERE = (errno.EADDRNOTAVAIL, getattr(errno, "WSAEADDRNOTAVAIL", errno.EADDRNOTAVAIL))


class CannotListenError(Exception):
    """The proxy cannot listen at an address. The message gives the address and the reason."""


@dataclass(frozen=True, slots=True)
class Door:
    """An address to listen at. ``option`` is its command-line option. The ``host`` "" means every address."""

    option: str
    host: str
    port: int
    protocols: tuple[Protocol, ...] = ("tcp",)

    def __str__(self) -> str:
        return f"{self.option}{'@' if self.option.startswith('--mode') else ' '}{self._at(self.port)}"

    def check(self) -> None:
        """Raise CannotListenError if the address is not available. Port 0 always is: the system chooses a port."""
        if self.port == 0:
            return
        for protocol in self.protocols:
            self._check(protocol)

    def _check(self, protocol: Protocol) -> None:
        try:
            found = socket.getaddrinfo(self.host or None, self.port, type=KINDS[protocol], flags=socket.AI_PASSIVE)
        except OSError as error:
            raise CannotListenError(f"{self}: this machine has no such address: {error.strerror}") from None
        absent = 0
        for family, kind, number, _, address in found:
            try:
                _try(family, kind, number, address)
            except OSError as error:
                if error.errno in NOT_HERE:
                    # A name may have several addresses. Some, such as ::1, may not exist on this machine.
                    absent += 1
                    continue
                raise CannotListenError(self._told(error, protocol)) from None
        if absent == len(found):
            raise CannotListenError(f"{self}: this machine has no such address")

    def _told(self, error: OSError, protocol: Protocol) -> str:
        if error.errno in IN_USE or (os.name == "nt" and error.errno == errno.EACCES):
            holder = holder_of(self.host, self.port, protocol)
            by = f" by {holder}" if holder else ""
            return f"{self} is in use{by}. Stop that program, or choose another port, such as {self._another()}"
        if error.errno == errno.EACCES:
            return f"{self}: only root may listen at ports below 1024. Choose another, such as {self._another()}"
        return f"{self}: {error.strerror}"

    def _another(self) -> str:
        """Write the option with another port."""
        port = self.port + 10 if 1024 <= self.port <= 65000 else 8090
        return f"{self.option}{'@' if self.option.startswith('--mode') else ' '}{self._at(port)}"

    def _at(self, port: int) -> str:
        # --port takes no host; a mode without one listens at every address.
        return write_address(self.host, port) if self.host and self.option != "--port" else str(port)


def doors_of(options: Options, web: tuple[str, int] | None = None) -> list[Door]:
    """Return the addresses of all modes in ``options``, and that of mitmweb if ``web`` is given."""
    doors = []
    for number, text in enumerate(options.mode):
        mode = mode_specs.ProxyMode.parse(text)
        port = mode.listen_port(options.listen_port)
        if port is None:
            continue
        kind = mode.transport_protocol
        protocols: tuple[Protocol, ...] = ("tcp", "udp") if kind == "both" else (kind,)
        doors.append(Door(_option(number, mode), mode.listen_host(options.listen_host), port, protocols))
    if web is not None:
        doors.append(Door("--web-listen", *web))
    return doors


def check_doors(doors: Sequence[Door]) -> None:
    """Raise CannotListenError for the first door that cannot be listened at, or that another door also uses."""
    for number, door in enumerate(doors):
        for other in doors[:number]:
            same_host = door.host == other.host or "" in (door.host, other.host)
            if door.port == other.port != 0 and same_host and set(door.protocols) & set(other.protocols):
                raise CannotListenError(f"{door}: this is where {other.option} listens. Choose another port for one")
        door.check()


def _option(number: int, mode: mode_specs.ProxyMode) -> str:
    """Return the option that a mode came from. addons/master.py puts the modes in this order."""
    if number == 0:
        return "--listen"
    if number == 1 and isinstance(mode, mode_specs.ReverseMode) and mode.custom_listen_host is not None:
        return "--base-url"
    return f"--mode {mode.full_spec.partition('@')[0]}"


def _try(family: int, kind: int, number: int, address: object) -> None:
    """Listen at an address for a moment. Raises OSError."""
    with socket.socket(family, kind, number) as probe:
        if os.name == "posix":
            # Like asyncio, ignore connections that have just been closed.
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif (exclusive := getattr(socket, "SO_EXCLUSIVEADDRUSE", None)) is not None:
            probe.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            probe.listen(1)


def holder_of(host: str, port: int, protocol: Protocol = "tcp") -> str | None:
    """Return the name and the process id of the program that listens at a port, or None if unknown.

    Most systems show only the user's own programs.
    """
    for pid, at in _listening(protocol, port):
        if not host or at in (host, "0.0.0.0", "::") or host == "localhost":  # noqa: S104 - nothing is bound to it
            with contextlib.suppress(psutil.Error, OSError):
                return f"{psutil.Process(pid).name()} (pid {pid})"
            return f"pid {pid}"
    return None


def _listening(protocol: Protocol, port: int) -> Iterator[tuple[int, str]]:
    """Yield the process id and the address of each program that listens at a port."""
    try:
        every = [(found.pid, found) for found in psutil.net_connections(protocol)]
    except (psutil.Error, OSError):
        # On macOS only root can list all connections. Other users can list those of their own programs.
        every = list(_of_each_program(protocol))
    for pid, found in every:
        if pid and found.laddr and found.laddr.port == port and found.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
            yield pid, found.laddr.ip


def _of_each_program(protocol: Protocol) -> Iterator[tuple[int, Any]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            yield from ((process.pid, found) for found in process.net_connections(protocol))
