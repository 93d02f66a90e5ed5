"""Requests for OpenAI's hosts go to our origin, and look as if they had gone to OpenAI's."""

import itertools
import logging
import weakref
from collections.abc import Sequence
from typing import Protocol

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import LocalMode

from addons.hosts import is_loopback, matches
from api.access import KEY_HEADER
from api.app import TOKEN_HEADER
from api.client_identity import CLIENT_HEADER
from api.endpoints.status import STATUS_PATH
from api.routes import ROUTES
from api.routing import supports, with_version
from engine.observers import FLOW_HEADER
from settings import Settings
from translate.errors import OpenAIError

log = logging.getLogger("understudy")

REAL_ADDRESS = "understudy_real_address"
"""``flow.metadata``: (scheme, host, port, Host header or None) that a flow had before it was sent to the origin."""


MAGIC_HOST = "understudy.local"
"""A host that is nowhere: through the proxy, http://understudy.local/ shows what the proxy is doing."""


ONLY_HERE = "This proxy answers only programs on its own machine: it runs without client_auth (`understudy keys`)."


NOT_STARTED = "Understudy could not be started; whoever runs it finds the reason in its log."


class OriginAddress(Protocol):
    """Where the origin is."""

    token: str

    async def addresses(self) -> Sequence[tuple[str, int]]:
        """Wait until it listens and return its addresses."""


class RedirectToOrigin:
    """Send requests for OpenAI's hosts to our HTTP origin, and put the real address back when they have been answered.

    mitmproxy keeps at most five connections to one address for a client's connection, so that a sixth stream on an
    HTTP/2 connection would wait for one of the five; the origin therefore listens on several ports, taken in turn.
    """

    def __init__(self, settings: Settings, origin: OriginAddress) -> None:
        self._hosts = settings.hosts
        self._passthrough = settings.passthrough
        self._client_auth = settings.client_auth
        # What was passed through when it was recorded is answered from the cassette too.
        self._replays = settings.replay is not None
        self._origin = origin
        self._turn = itertools.count()
        self._told_of_version = False
        self._sent: weakref.WeakKeyDictionary[Client, set[tuple[str, int]]] = weakref.WeakKeyDictionary()

    def is_ours(self, flow: http.HTTPFlow, *, logged_in: bool = False) -> bool:
        """Whether the origin answers this flow. ``logged_in``: its client has shown a key to the proxy itself."""
        request = flow.request
        if is_own_page(request):
            return True
        if not (matches(request.host, self._hosts) or matches(request.pretty_host, self._hosts)):
            return False
        if self._client_auth and not logged_in:
            # The key that it must have stands where OpenAI's would: it is ours, and nobody has looked at it yet.
            return True
        path = with_version(ROUTES, request.path.partition("?")[0])
        return self._replays or not self._passthrough or supports(ROUTES, path)

    def may_ask(self, flow: http.HTTPFlow) -> bool:
        """Whether a client is asked for a key, or is on this machine.

        mitmproxy's own programs listen on every address unless told otherwise.
        """
        peer = flow.client_conn.peername
        here = peer is None or is_loopback(str(peer[0])) or isinstance(flow.client_conn.proxy_mode, LocalMode)
        return self._client_auth or here

    def has_sent(self, client: Client, host: str, port: int) -> bool:
        """Whether a request of a client was sent to this port of our origin."""
        return (host, port) in self._sent.get(client, ())

    async def request(self, flow: http.HTTPFlow) -> None:
        """Redirect."""
        # Which key a client has logged in with is for the origin, and for no other host that it talks to.
        key = flow.request.headers.pop(KEY_HEADER, None)
        if flow.response or flow.error or not flow.live or not self.is_ours(flow, logged_in=key is not None):
            return
        if not self.may_ask(flow):
            refuse(flow, forbidden(ONLY_HERE))
            return
        try:
            addresses = await self._origin.addresses()
        except Exception:
            # mitmproxy would go on with the flow as it is: to the real host, with the app's own key. Why there is no
            # origin stands in the log.
            refuse(flow, OpenAIError(NOT_STARTED, status=503, type="server_error", code="unavailable"))
            return
        request = flow.request
        own_page = is_own_page(request)
        flow.metadata[REAL_ADDRESS] = (request.scheme, request.host, request.port, request.headers.get("host"))
        # Another proxy may stand between us and the world, but not between us and ourselves.
        flow.server_conn.via = None
        request.scheme = "http"
        request.host, request.port = addresses[next(self._turn) % len(addresses)]
        self._sent.setdefault(flow.client_conn, set()).add((request.host, request.port))
        request.headers[TOKEN_HEADER] = self._origin.token
        peer = flow.client_conn.peername
        request.headers[CLIENT_HEADER] = str(peer[0]) if peer else ""
        if key is not None:
            request.headers[KEY_HEADER] = key
        request.headers.pop(FLOW_HEADER, None)
        if own_page and request.path == "/":
            request.path = STATUS_PATH
        self._complete_path(request)
        if request.raw_content and not {"content-length", "transfer-encoding"} & {h.lower() for h in request.headers}:
            # HTTP/2 need not tell the length; mitmproxy would send the body to the origin without saying where it ends.
            request.headers["content-length"] = str(len(request.raw_content))

    def _complete_path(self, request: http.Request) -> None:
        """Put ``/v1`` before a path that lacks it. The flow keeps it, so that records and views know the endpoint."""
        path, mark, query = request.path.partition("?")
        completed = with_version(ROUTES, path)
        if completed == path:
            return
        request.path = f"{completed}{mark}{query}"
        if not self._told_of_version:
            self._told_of_version = True
            log.info("an app's base URL does not end in /v1: %s is answered as %s", path, completed)

    def response(self, flow: http.HTTPFlow) -> None:
        """Restore."""
        restore(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Restore."""
        restore(flow)


def is_own_page(request: http.Request) -> bool:
    """Whether a request is for the proxy itself."""
    return matches(request.pretty_host, (MAGIC_HOST,))


def forbidden(message: str) -> OpenAIError:
    """Return OpenAI's 403."""
    return OpenAIError(message, status=403, code="forbidden")


def refuse(flow: http.HTTPFlow, error: OpenAIError) -> None:
    """Answer with an error of OpenAI's shape."""
    flow.response = http.Response.make(error.status, error.body(), {"content-type": "application/json"})


def restore(flow: http.HTTPFlow) -> None:
    """Make a flow that was at the origin show the address that the app asked for."""
    real = flow.metadata.pop(REAL_ADDRESS, None)
    if real is None:
        return
    scheme, host, port, header = real
    request = flow.request
    request.scheme, request.host, request.port = scheme, host, port
    for name in (TOKEN_HEADER, CLIENT_HEADER, FLOW_HEADER):
        request.headers.pop(name, None)
    if header is not None:
        request.headers["host"] = header
