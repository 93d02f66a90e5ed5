"""One connection of a `claude` process to the valve, and the connection from the valve to the API.

The process uses the valve as an HTTP proxy (RFC 9110, sections 7.6 and 9.3.6). For ``https`` it sends CONNECT, and then
bytes that the valve does not read. For ``http`` it sends requests with an absolute URL.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable
from itertools import zip_longest
from typing import Protocol

from engine.destinations import Destinations, Proxy, UnusableProxyError
from engine.proxy_requests import MAX_HEAD_BYTES, RefusedError, Requests, target_of, token_of
from engine.reach import trusted, write
from engine.tasks import TaskSet

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 0x14, 0x15, 0x16, 0x17
"""The types of TLS records (RFC 8446, section 5.1)."""
RECORD_HEAD = 5
HTTP_2 = (b"\x02h2\x08http/1.1", b"\x08http/1.1\x02h2", b"\x00\x03\x02h2")
"""HTTP/2 in the list of protocols that a client offers (RFC 7301): before or after HTTP/1.1, or alone."""
ALERT_BYTES = 32
"""The end of a TLS connection is a shorter record than this. A request is longer."""
HEAD_S = 10.0
"""The time limit for the first head of a connection."""
CONNECT_S = 30.0
"""The time limit for a connection to the API, with the resolution of its name and the answer of a proxy."""
NEXT_S = 3.0
"""After this time without a connection, the next address of a name is tried. The last one gets all the time."""

log = logging.getLogger(__name__)


class Gate(Protocol):
    """What a connection needs of the gate of its process (:class:`engine.valve.Gate`)."""

    destinations: Destinations

    # ruff: noqa: D102
    def add(self, connection: "FromProcess") -> None: ...
    def remove(self, connection: "FromProcess") -> None: ...
    def passes_now(self) -> bool: ...
    def may_pass(self, connection: "FromProcess") -> Awaitable[bool]: ...
    def sent(self, connection: "FromProcess") -> None: ...
    def received(self, size: int, *, tls: bool) -> None: ...
    def refuse(self, name: str) -> None: ...
    def cannot_hold(self) -> None: ...


class Gates(Protocol):
    """Where a connection finds its gate (:class:`engine.valve.Valve`)."""

    tasks: TaskSet
    connections: "set[FromProcess]"

    def find(self, token: str) -> Gate | None: ...


class NoConnectionError(Exception):
    """The server of a plain HTTP request cannot be reached."""


class FromProcess(asyncio.Protocol):
    """The connection between a process and the valve. The process has opened it."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._gate: Gate | None = None
        self._transport: asyncio.Transport | None = None
        self._api: ToApi | None = None
        self._opening: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._buffer = bytearray()
        self._requests: Requests | None = None
        self._counts = False
        self._is_tls: bool | None = None
        self._hello = b""
        self._shook_hands = False
        self._head_limit: asyncio.TimerHandle | None = None
        self._pauses: set[str] = set()
        self.held = False
        """Whether data was discarded. Then the connection is of no further use."""

    @property
    def waits(self) -> bool:
        """Whether it leads to the API, and something of it has not been passed on."""
        return self._counts and (self.held or self._api is None or self._checking is not None)

    # What the process does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._transport = transport
        self._gates.connections.add(self)
        self._head_limit = asyncio.get_running_loop().call_later(HEAD_S, self.abort)

    def data_received(self, data: bytes) -> None:
        if self.held:
            return
        if self._api is not None and self._checking is None:
            self._up(data)
            return
        self._buffer += data
        if self._opening is None:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        for task in (self._opening, self._checking):
            if task is not None:
                task.cancel()
        if self._head_limit is not None:
            self._head_limit.cancel()
        self._gates.connections.discard(self)
        if self._api is not None:
            self._api.end()
        if self._gate is not None:
            self._gate.remove(self)

    def pause_writing(self) -> None:
        if self._api is not None:
            self._api.pause()

    def resume_writing(self) -> None:
        if self._api is not None:
            self._api.resume()

    # Opening the connection to the API.

    def _begin(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self.abort()
            return
        if self._head_limit is not None:
            self._head_limit.cancel()
        self.pause("opening")
        self._opening = self._gates.tasks.start(self._open(bytes(self._buffer[:end])), "open a way for claude")

    async def _open(self, head: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - connection_made has come
        try:
            method, host, port = target_of(head)
            gate = self._gate = self._enter(head, host, port)
            if self._counts and not gate.passes_now() and not await gate.may_pass(self):
                # It waits until the process gives it up, or until the next turn.
                self._throw_away()
                return
            api = await self._connect(gate.destinations, host, port, tunnel=method == "CONNECT")
        except RefusedError as error:
            self._transport.write(error.answer.encode("ascii"))
            self._transport.close()
            return
        except NoConnectionError:
            # Without TLS, an answer of ours would look like one of the API's.
            self.abort()
            return
        except Exception:
            log.exception("no connection to the API could be opened")
            self.abort()
            return
        self._api = api
        rest = bytes(self._buffer)
        self._buffer.clear()
        if method == "CONNECT":
            self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            rest = rest[len(head) + 4 :]
        else:
            self._is_tls = False
            self._requests = Requests(api.absolute, api.login)
        if rest:
            self._up(rest)
        self.resume("opening")

    def _enter(self, head: bytes, host: str, port: int) -> Gate:
        """Return the gate of the process, if it may reach the host. Raises RefusedError."""
        gate = self._gates.find(token_of(head))
        if gate is None:
            raise RefusedError("407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="valve"')
        kind = gate.destinations.kind(host, port)
        if kind == "refused":
            gate.refuse(write(host, port))
            raise RefusedError("403 Forbidden")
        gate.add(self)
        self._counts = kind == "api"
        return gate

    async def _connect(self, to: Destinations, host: str, port: int, *, tunnel: bool) -> "ToApi":
        try:
            proxy = to.proxy("https" if tunnel else "http", host, port)
            api = ToApi(self)
            async with asyncio.timeout(CONNECT_S):
                await api.connect(proxy, host, port, tunnel=tunnel, authorities=to.environ.get("NODE_EXTRA_CA_CERTS"))
        except (UnusableProxyError, OSError, EOFError, UnicodeError) as error:
            raise RefusedError("502 Bad Gateway") if tunnel else NoConnectionError from error
        return api

    # Forwarding.

    def _up(self, data: bytes) -> None:
        """Send data to the API: at once, or after the gate has allowed it."""
        gate, api = self._gate, self._api
        assert gate is not None and api is not None  # noqa: S101 - _open has set both
        if not self._counts or self._is_greeting(data) or (self._is_tls and _is_alert(data)):
            self._pass(api, data)
        elif gate.passes_now():
            gate.sent(self)
            self._pass(api, data)
        else:
            self._buffer += data
            self.pause("checking")
            self._checking = self._gates.tasks.start(self._check(gate), "ask the gate")

    async def _check(self, gate: Gate) -> None:
        may = await gate.may_pass(self)
        self._checking = None
        if not may:
            self._throw_away()
        elif self._api is not None:
            data = bytes(self._buffer)
            self._buffer.clear()
            gate.sent(self)
            self._pass(self._api, data)
            self.resume("checking")

    def _pass(self, api: "ToApi", data: bytes) -> None:
        try:
            api.write(self._requests.rewrite(data) if self._requests is not None else data)
        except ValueError:
            self.abort()

    def _is_greeting(self, data: bytes) -> bool:
        """Whether data belongs to the beginning of the TLS handshake. It cannot contain a request."""
        if self._is_tls is None:
            self._is_tls = data[0] == HANDSHAKE
        if not self._is_tls or self._shook_hands:
            return False
        if len(self._hello) < RECORD_HEAD or len(self._hello) < RECORD_HEAD + _length(self._hello):
            self._hello += data
            if self._gate is not None and any(offer in self._hello for offer in HTTP_2):
                self._gate.cannot_hold()
            return True
        if data[0] == CHANGE_CIPHER and len(data) > RECORD_HEAD:
            # A second hello may follow, if the server has asked for one.
            data = data[RECORD_HEAD + _length(data) :]
        if data[:1] == bytes([HANDSHAKE]):
            return True
        # The last message of the client's handshake and its first request may come together.
        self._shook_hands = True
        return False

    def down(self, data: bytes) -> None:
        """Send data to the process."""
        if self._counts and self._gate is not None and (self._shook_hands or not self._is_tls):
            self._gate.received(len(data), tls=bool(self._is_tls))
        if self._transport is not None:
            self._transport.write(data)

    def pause(self, why: str) -> None:
        """Read nothing more from the process until :meth:`resume` is called with the same reason."""
        self._pauses.add(why)
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self, why: str) -> None:
        """Read again, if there is no other reason to wait."""
        self._pauses.discard(why)
        if self._transport is not None and not self._pauses:
            self._transport.resume_reading()

    def end(self) -> None:
        """Close the connection, because the API has closed its own. Data that has come is still delivered."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection without delivering what is left. The one to the API is closed too."""
        if self._transport is not None:
            self._transport.abort()

    def _throw_away(self) -> None:
        self.held = True
        self._buffer.clear()
        # Read on: otherwise it is not noticed when the process closes the connection.
        for why in tuple(self._pauses):
            self.resume(why)


class ToApi(asyncio.Protocol):
    """The connection from the valve to the API, or to a proxy on the way to it."""

    def __init__(self, process: FromProcess) -> None:
        self._process = process
        self._transport: asyncio.Transport | None = None
        self._answer = bytearray()
        self._opened: asyncio.Future[None] | None = None
        self.absolute = False
        """Whether requests go to a proxy, and so keep their absolute URLs."""
        self.login: str | None = None
        """The login for that proxy."""

    async def connect(
        self, proxy: Proxy | None, host: str, port: int, *, tunnel: bool, authorities: str | None
    ) -> None:
        """Connect to a host, through ``proxy`` if it is not None. Raises OSError, EOFError and RefusedError."""
        loop = asyncio.get_running_loop()
        if proxy is None:
            await _connect(self, host, port)
            return
        tls = await asyncio.to_thread(trusted, authorities) if proxy.tls else None
        await _connect(self, proxy.host, proxy.port, tls)
        if not tunnel:
            self.absolute, self.login = True, proxy.login
            return
        self._opened = loop.create_future()
        name = write(host, port)
        login = f"Proxy-Authorization: {proxy.login}\r\n" if proxy.login else ""
        self.write(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{login}\r\n".encode("ascii"))
        try:
            await self._opened
        except BaseException:
            self.end()
            raise
        finally:
            self._opened = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._opened is not None and not self._opened.done():
            self._read_answer(data)
        else:
            self._process.down(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opened is None:
            self._process.end()
        elif not self._opened.done():
            self._opened.set_exception(EOFError("the proxy closed the connection"))

    def pause_writing(self) -> None:
        self._process.pause("the API is slower")

    def resume_writing(self) -> None:
        self._process.resume("the API is slower")

    def _read_answer(self, data: bytes) -> None:
        """Read the proxy's answer to CONNECT."""
        assert self._opened is not None  # noqa: S101 - the caller has looked
        self._answer += data
        head, separator, rest = bytes(self._answer).partition(b"\r\n\r\n")
        if not separator:
            if len(self._answer) > MAX_HEAD_BYTES:
                self._opened.set_exception(EOFError("the proxy's answer is too long"))
            return
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        status = words[1].decode("ascii", "replace") if len(words) > 1 else ""
        if status[:1] == "1":
            self._answer.clear()
            if rest:
                self._read_answer(rest)
        elif status[:1] == "2" and not rest:
            self._opened.set_result(None)
        else:
            refused = status.isdigit() and status[:1] in ("4", "5")
            self._opened.set_exception(RefusedError(f"{status if refused else 502} Refused by the proxy"))

    def write(self, data: bytes) -> None:
        """Send data."""
        if self._transport is not None:
            self._transport.write(data)

    def pause(self) -> None:
        """Stop reading: the process reads more slowly than the API sends."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def end(self) -> None:
        """Close the connection, because the process has closed its own."""
        if self._transport is not None:
            self._transport.abort()


async def _connect(protocol: asyncio.Protocol, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
    """Connect to the first address of a name that answers, IPv6 and IPv4 in turn. Raises OSError.

    ``happy_eyeballs_delay`` of asyncio fails with eager tasks, which mitmproxy uses, before Python 3.13.1 and 3.12.8.
    """
    loop = asyncio.get_running_loop()
    name = host if tls is not None else None
    families: dict[int, list[str]] = {}
    for family, *_, place in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        families.setdefault(family, []).append(str(place[0]))
    addresses = [one for each in zip_longest(*families.values()) for one in each if one is not None]
    failed = OSError("the name has no address")
    for number, address in enumerate(addresses, 1):
        try:
            async with asyncio.timeout(NEXT_S if number < len(addresses) else None):
                await loop.create_connection(lambda: protocol, address, port, ssl=tls, server_hostname=name)
                return
        except OSError as error:
            failed = error
    raise failed


def _length(record: bytes) -> int:
    """Return the length of a TLS record, without its head."""
    return int.from_bytes(record[3:RECORD_HEAD])


def _is_alert(data: bytes) -> bool:
    """Whether data is one TLS record that ends the connection. TLS 1.3 writes it with the type of data."""
    return (
        len(data) > RECORD_HEAD
        and data[0] in (ALERT, DATA)
        and _length(data) <= ALERT_BYTES
        and len(data) == RECORD_HEAD + _length(data)
    )
