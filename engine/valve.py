"""The valve: a proxy for Claude Code's own connections. It lets a process send one request to the API in each turn.

After some answers (cut at ``max_tokens``, empty, refused) Claude Code sends another request by itself, within
milliseconds (facts F40 to F44). The user would pay for that request. So each process has the valve as its proxy (fact
F109). The valve forwards bytes unchanged. It decrypts nothing: TLS is between Claude Code and the API.

The rule: a turn opens the gate of its process. When the answer has begun, the gate shuts. Then the valve sends nothing
from that process to the API and makes no new connection, until the next turn opens the gate. Data that the process
sends in that time is discarded. If the valve sent it later, it would be another request.

The answer has begun when the process reports ``message_start``. Reports come over the process's standard output, and
requests over the network. So a second request can be here before that report has been read. If the process sends data
after the API has sent some, the gate first waits until all reports of the process are read. Only then does it know
whether the data may pass. The data may also be the rest of a long request, or a second try after an error.

The valve also decides which hosts a process may reach (:mod:`engine.destinations`).
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from engine.destinations import Destinations
from engine.tasks import TaskSet
from engine.valve_connection import FromProcess

log = logging.getLogger(__name__)

HEAD_BYTES = 700
"""Over TLS, an answer's head and its first event are longer. TLS session tickets, which also come down, are shorter."""

QUIET_S = 0.02
"""If a few bytes have come from the API: the process must have reported nothing for this time before data may pass."""

QUIET_AFTER_ANSWER_S = 0.4
"""The same if the data from the API may be an answer. Only a second try after an error has to wait this long."""

type UntilRead = Callable[[float], Awaitable[bool]]
"""Returns True when everything that the process has reported is read, and nothing came for so many seconds.

Returns False if the process does not stop reporting, or if the event loop is too busy to tell.
"""


class Gate:
    """Decides what one process may send to its API. ``environment``: the variables that make the valve its proxy."""

    def __init__(self, valve: "Valve", to: Destinations, until_read: UntilRead, on_held: Callable[[], None]) -> None:
        self._valve = valve
        self._until_read = until_read
        self._on_held = on_held
        self._connections: set[FromProcess] = set()
        self._exact = True
        self._turn = 0
        self._carrier: FromProcess | None = None
        self._over_tls = True
        self.destinations = to
        # Whether the answer of the present turn has begun.
        self._is_shut = False
        # How many bytes the API has sent since the process last sent some.
        self._came = 0
        self._sent_at: float | None = None
        self._answered_at: float | None = None
        self.token = secrets.token_urlsafe(16)

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the process. The valve itself goes through the proxies that they replace."""
        url = f"http://{self.token}:x@127.0.0.1:{self._valve.port}"
        proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        return dict.fromkeys(proxies, url) | {"NO_PROXY": "", "no_proxy": ""}

    @property
    def holds(self) -> bool:
        """Whether this turn's request went through the gate, and no other request can follow."""
        return self._is_shut and self._carrier is not None and self._exact

    @property
    def api_wait_s(self) -> float | None:
        """The seconds from the last byte of the turn's request to the first byte of its answer."""
        if self._sent_at is None or self._answered_at is None:
            return None
        return max(self._answered_at - self._sent_at, 0.0)

    def open(self) -> None:
        """Let one request pass. What waits belongs to an earlier turn, and its connections are closed.

        The process gets its question only after this call, so nothing that waits can belong to the new turn.
        """
        self._turn += 1
        self._is_shut, self._carrier = False, None
        self._came, self._sent_at, self._answered_at = 0, None, None
        for connection in list(self._connections):
            if connection.waits:
                connection.abort()

    def shut(self) -> None:
        """Let no more data pass: the answer has begun."""
        self._is_shut = True

    def cut_off(self) -> bool:
        """Close all connections of the process. Return True."""
        for connection in list(self._connections):
            connection.abort()
        return True

    def close(self) -> None:
        """Close all connections, and accept no further ones."""
        self.cut_off()
        self._valve.forget(self)

    # For the connections.

    def add(self, connection: FromProcess) -> None:
        """Take note of a connection."""
        self._connections.add(connection)

    def remove(self, connection: FromProcess) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def passes_now(self) -> bool:
        """Whether data may be sent to the API at once, without :meth:`may_pass`."""
        return not self._exact or not (self._is_shut or self._came)

    async def may_pass(self, connection: FromProcess) -> bool:
        """Return whether data of a connection may be sent to the API. Wait for the process's reports first."""
        turn = self._turn
        if not self._is_shut and self._came:
            tickets = self._over_tls and self._came <= HEAD_BYTES
            await self._until_read(QUIET_S if tickets else QUIET_AFTER_ANSWER_S)
        if self._turn != turn:
            return False
        if self._is_shut and self._exact:
            self._valve.counts["held"] += 1
            # A request beside a living answer is not a second try.
            if self._carrier is connection or self._carrier not in self._connections:
                self._valve.tasks.start(self._tell_held(turn), "tell of a held request")
            return False
        self._came = 0
        return True

    async def _tell_held(self, turn: int) -> None:
        """Call ``on_held`` after the process's reports are read. They may say that its answer has ended."""
        if await self._until_read(QUIET_AFTER_ANSWER_S) and self._turn == turn:
            self._on_held()

    def sent(self, connection: FromProcess) -> None:
        """Take note that data of a connection was sent to the API."""
        if not self._turn:
            return
        if self._carrier is None:
            self._valve.counts["requests"] += 1
        self._carrier = connection
        self._sent_at = time.monotonic()

    def received(self, size: int, *, tls: bool) -> None:
        """Take note of data from the API. Data before the turn's request is the end of an earlier answer."""
        if self._carrier is None:
            return
        self._over_tls = tls
        if not self._came:
            self._answered_at = time.monotonic()
        self._came += size

    def refuse(self, name: str) -> None:
        """Count a refused connection to a host. The log names each host once."""
        refused = self._valve.refused
        if name not in refused and len(refused) < MAX_NAMES:
            log.warning(
                "Claude Code may not reach %s, and the connection was refused. To allow it, add the host to the setting"
                " claude_hosts",
                name,
            )
        if name in refused or len(refused) < MAX_NAMES:
            refused[name] += 1

    def cannot_hold(self) -> None:
        """Take note that the process offers HTTP/2. There a client also sends data while an answer comes."""
        if self._exact:
            log.warning(
                "Claude Code offers HTTP/2, which the valve cannot hold. A process that would send a second request is"
                " killed instead"
            )
        self._exact = False


class NoGate:
    """The gate of a process that does not use the valve. It holds nothing."""

    environment: Mapping[str, str] = {}
    holds = False
    api_wait_s = None

    def open(self) -> None:
        """Do nothing."""

    def shut(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def cut_off(self) -> bool:
        """Return False: the connections cannot be closed."""
        return False


MAX_NAMES = 50
"""For so many refused hosts there is a count. Further hosts are refused without one."""


class Valve:
    """Listens on loopback for the processes of a pool. ``counts`` and ``refused`` are for the status."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._gates: dict[str, Gate] = {}
        self.tasks = TaskSet()
        self.connections: set[FromProcess] = set()
        self.port = 0
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: FromProcess(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for gate in list(self._gates.values()):
            gate.close()
        for connection in list(self.connections):
            connection.abort()
        await self.tasks.cancel()

    def status(self) -> dict[str, Any]:
        """Return how many requests passed and were held, and which hosts were refused."""
        return {"requests": self.counts["requests"], "held": self.counts["held"], "refused": dict(self.refused)}

    def gate(self, to: Destinations, until_read: UntilRead, on_held: Callable[[], None]) -> Gate:
        """Make the gate of a new process."""
        gate = Gate(self, to, until_read, on_held)
        self._gates[gate.token] = gate
        return gate

    def find(self, token: str) -> Gate | None:
        """Return the gate of a token."""
        return self._gates.get(token)

    def forget(self, gate: Gate) -> None:
        """Accept no more connections for a gate."""
        self._gates.pop(gate.token, None)
