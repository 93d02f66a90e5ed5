"""Redirect requests for OpenAI's hosts to the local origin. Afterwards the flows show OpenAI's addresses again."""

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
"""A host that exists only in the proxy. Through the proxy, http://understudy.local/ shows the proxy's status."""


ONLY_HERE = "This proxy answers only programs on its own machine: it runs without client_auth (`understudy keys`)."


NOT_STARTED = "Understudy could not be started; its operator finds the reason in its log."


class OriginAddress(Protocol):
    """The addresses and the token of the origin."""

    token: str

    async def addresses(self) -> Sequence[tuple[str, int]]:
        """Wait until the origin listens, and return its addresses."""


class RedirectToOrigin:
    """Send requests for OpenAI's hosts to the HTTP origin. Restore the real address after the response.

    For each client connection, mitmproxy opens at most five connections to one address. A sixth stream on an HTTP/2
    connection would have to wait. So the origin listens on several ports, and requests use them in turn.
    """

    def __init__(self, settings: Settings, origin: OriginAddress) -> None:
        self._hosts = settings.hosts
        self._passthrough = settings.passthrough
        self._client_auth = settings.client_auth
        # A cassette may contain requests that were passed through. They are answered from it too.
        self._replays = settings.replay is not None
        self._origin = origin
        self._turn = itertools.count()
        self._told_of_version = False
        self._sent: weakref.WeakKeyDictionary[Client, set[tuple[str, int]]] = weakref.WeakKeyDictionary()

    def is_ours(self, flow: http.HTTPFlow, *, logged_in: bool = False) -> bool:
        """Whether the origin answers this flow. ``logged_in``: its client has logged in to the proxy with a key."""
        request = flow.request
        if is_own_page(request):
            return True
        if not (matches(request.host, self._hosts) or matches(request.pretty_host, self._hosts)):
            return False
        if self._client_auth and not logged_in:
            # Its key is in OpenAI's header. It may be one of the proxy's keys, and only the origin checks it.
            return True
        path = with_version(ROUTES, request.path.partition("?")[0])
        return self._replays or not self._passthrough or supports(ROUTES, path)

    def may_ask(self, flow: http.HTTPFlow) -> bool:
        """Whether keys are required, or the client is on this machine.

        This matters for mitmproxy's own programs, since they listen on every address by default.
        """
        peer = flow.client_conn.peername
        here = peer is None or is_loopback(str(peer[0])) or isinstance(flow.client_conn.proxy_mode, LocalMode)
        return self._client_auth or here

    def has_sent(self, client: Client, host: str, port: int) -> bool:
        """Whether a request of a client was sent to this address of the origin."""
        return (host, port) in self._sent.get(client, ())

    async def request(self, flow: http.HTTPFlow) -> None:
        """Redirect the request if the origin answers it."""
        # Send the key of the proxy login only to the origin, never to another host.
        key = flow.request.headers.pop(KEY_HEADER, None)
        if flow.response or flow.error or not flow.live or not self.is_ours(flow, logged_in=key is not None):
            return
        if not self.may_ask(flow):
            refuse(flow, forbidden(ONLY_HERE))
            return
        try:
            addresses = await self._origin.addresses()
        except Exception:
            # Without a response, mitmproxy would send the request to the real host, with the app's own key. The log has
            # the reason why there is no origin.
            refuse(flow, OpenAIError(NOT_STARTED, status=503, type="server_error", code="unavailable"))
            return
        request = flow.request
        own_page = is_own_page(request)
        flow.metadata[REAL_ADDRESS] = (request.scheme, request.host, request.port, request.headers.get("host"))
        # Connect to the origin directly, even if an upstream proxy is set.
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
            # HTTP/2 requests may lack a length. mitmproxy would then send the body without marking its end.
            request.headers["content-length"] = str(len(request.raw_content))

    def _complete_path(self, request: http.Request) -> None:
        """Add ``/v1`` to a path that lacks it. It stays in the flow, so that recordings and views show the endpoint."""
        path, mark, query = request.path.partition("?")
        completed = with_version(ROUTES, path)
        if completed == path:
            return
        request.path = f"{completed}{mark}{query}"
        if not self._told_of_version:
            self._told_of_version = True
            log.info("an app's base URL does not end in /v1: %s is answered as %s", path, completed)

    def response(self, flow: http.HTTPFlow) -> None:
        """Restore the real address."""
        restore(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Restore the real address."""
        restore(flow)


def is_own_page(request: http.Request) -> bool:
    """Whether a request is for the proxy's own page."""
    return matches(request.pretty_host, (MAGIC_HOST,))


def forbidden(message: str) -> OpenAIError:
    """Return an error with status 403."""
    return OpenAIError(message, status=403, code="forbidden")


def refuse(flow: http.HTTPFlow, error: OpenAIError) -> None:
    """Answer with an error in OpenAI's format."""
    flow.response = http.Response.make(error.status, error.body(), {"content-type": "application/json"})


def restore(flow: http.HTTPFlow) -> None:
    """Restore the address that the app requested, if the flow was redirected to the origin."""
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
