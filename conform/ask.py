"""Sends the requests of the plan, one after the other, and checks each answer. Times and sizes are limited."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from wsproto.utilities import ProtocolError

from conform.accumulators import SKIPPED, is_installed
from conform.document import Document
from conform.errors import check_wanted_error
from conform.exchange import Exchange, Finding, short
from conform.judge import judge
from conform.plan import Ask
from conform.websocket import RefusedError, WebSocketError, ask_by_websocket
from conform.wire import Wire

MAX_BYTES = 8 * 1024 * 1024
"""The limit for one answer. A normal answer to these requests has a few kilobytes."""

ABSENT = "endpoint"
"""The name of the check for a missing endpoint. If it is missing, the rest of its group is not sent."""


class UnreachableError(Exception):
    """The server cannot be reached. The message says why."""


@dataclass
class Verdict:
    """The result of all requests.

    ``findings`` has a list for each request. ``skipped`` has what was not sent or not checked, with the reason.
    """

    findings: dict[str, list[Finding]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many findings there are."""
        return sum(len(found) for found in self.findings.values())


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server, and how requests are sent to it. ``base_url`` ends in ``/v1``, or in what the server has instead."""

    base_url: str
    api_key: str
    model: str
    timeout_s: float = 60

    def headers(self, key: str | None = None) -> dict[str, str]:
        """Return the headers of a request."""
        return {"authorization": f"Bearer {key or self.api_key}"}


def conform(
    server: Server,
    asks: Sequence[Ask],
    document: Document,
    wire: Wire,
    told: Callable[[str, list[Finding]], None] = lambda name, found: None,
) -> Verdict:
    """Send requests to a server and check its answers. ``told`` is called after each. Raises UnreachableError."""
    verdict = Verdict()
    if not is_installed():
        verdict.skipped["openai-python"] = SKIPPED
    absent: dict[str, str] = {}
    ids: dict[str, str] = {}
    # A new connection for each request: some servers close one after an error without saying so.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=server.timeout_s, follow_redirects=False, limits=limits) as client:
        for ask in asks:
            if ask.group in absent:
                verdict.skipped[ask.name] = absent[ask.group]
                continue
            if ask.group == "websocket" and _is_proxied(server.base_url):
                verdict.skipped[ask.name] = "a WebSocket is not sent through the proxy that the environment names"
                continue
            found = _judged(client, server, ask, document, wire, ids)
            if any(finding.check == ABSENT for finding in found):
                absent[ask.group] = f"the server answered «{ask.name}» as if it did not have the endpoint"
            verdict.findings[ask.name] = found
            told(ask.name, found)
    return verdict


def _judged(
    client: httpx.Client, server: Server, ask: Ask, document: Document, wire: Wire, ids: dict[str, str]
) -> list[Finding]:
    """Send one request and return what is wrong with the answer.

    ``ids`` has the ``x-request-id`` of each answer so far, with the name of its request.
    """
    try:
        exchange = answer_to(client, server, ask)
    except (httpx.TimeoutException, TimeoutError):
        return [Finding("time", ask.name, "the answer", "no end", f"an answer within {server.timeout_s:g} s")]
    except (httpx.ConnectError, ConnectionRefusedError) as error:
        raise UnreachableError(f"{server.base_url} does not answer: {error}") from None
    except RefusedError as error:
        return [Finding(ABSENT, ask.name, "the WebSocket", str(error), "the events of a response")]
    except (WebSocketError, ProtocolError, httpx.HTTPError, OSError) as error:
        return [Finding("connection", ask.name, "the answer", short(str(error)), "an answer")]
    if len(exchange.text) > MAX_BYTES:
        return [Finding("size", ask.name, "the answer", f"more than {MAX_BYTES} bytes", "a short answer")]
    if ask.key and exchange.status == 200:
        return []  # this server accepts every key
    if exchange.status != ask.status and ask.wanted is None:
        check = ABSENT if exchange.status in (404, 405, 501) and ask.group != "models" else "status"
        return [Finding(check, ask.name, "status", f"{exchange.status}: {short(exchange.text, 200)}", str(ask.status))]
    found = judge(exchange, document, wire) if exchange.status >= 400 or ask.wanted is None else []
    if ask.wanted is not None:
        wanted = check_wanted_error(exchange, ask.status, ask.wanted)
        found += [Finding("error", ask.name, problem.place, problem.came, problem.wanted) for problem in wanted]
    id = exchange.headers.get("x-request-id")
    if id in ids:
        found.append(Finding("headers", ask.name, "x-request-id", short(id), f"another than for «{ids[id]}»"))
    if id:
        ids[id] = ask.name
    return found


def answer_to(client: httpx.Client, server: Server, ask: Ask) -> Exchange:
    """Send one request and return the exchange. Raises TimeoutError, WebSocketError, OSError and httpx's errors."""
    return _by_websocket(server, ask) if ask.group == "websocket" else _by_http(client, server, ask)


def _by_http(client: httpx.Client, server: Server, ask: Ask) -> Exchange:
    """Send a request and read the answer to its end. Raises TimeoutError and httpx's errors.

    The answer must not be compressed, which the request says: a small piece could become a very large one.
    """
    deadline = time.monotonic() + server.timeout_s
    content = ask.body if isinstance(ask.body, str) else None
    request: Any = {"json": ask.body} if content is None and ask.body is not None else {"content": content}
    headers = server.headers(ask.key) | {"accept-encoding": "identity"}
    headers |= {"content-type": "application/json"} if content else {}
    data = b""
    with client.stream(ask.method, f"{server.base_url}{ask.path}", headers=headers, **request) as response:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise httpx.DecodingError(f"content-encoding: {encoding}, and identity was asked for")
        for piece in response.iter_raw():
            data += piece
            if time.monotonic() > deadline:
                raise TimeoutError
            if len(data) > MAX_BYTES:
                break
    return Exchange(
        name=ask.name,
        dialect=ask.dialect,
        method=ask.method,
        path=ask.path,
        request=ask.body,
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        text=data.decode("utf-8", "replace"),
    )


def _by_websocket(server: Server, ask: Ask) -> Exchange:
    """Send a request over a WebSocket. Raises WebSocketError and OSError."""
    messages = ask_by_websocket(
        f"{server.base_url}{ask.path}", ask.body, server.headers(), timeout_s=server.timeout_s, max_bytes=MAX_BYTES
    )
    return Exchange(
        name=ask.name, dialect=ask.dialect, method="GET", path=ask.path, request=ask.body, messages=messages
    )


def _is_proxied(base_url: str) -> bool:
    parts = urlsplit(base_url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")
