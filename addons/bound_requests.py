"""Check requests by their headers, and limit their bodies."""

from collections.abc import Awaitable, Callable

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.layers import HttpLayer

from addons.bounded_http import HOLDER, STREAMED, BoundedHttpLayer
from addons.explain_doors import is_root
from addons.hosts import matches
from addons.redirect_to_origin import MAGIC_HOST, ONLY_HERE, RedirectToOrigin, forbidden
from api.access import KEY_HEADER, Access, bearer
from api.body_bounds import Bounds, too_large
from api.failures import error_headers
from api.http.server import Request
from api.routes import ROUTES
from api.routing import find, is_for_everybody, with_version
from settings import Settings
from translate.errors import OpenAIError


class BoundRequests:
    """Refuse a request at its headers if the origin would refuse it, before any of its body is read.

    Unknown paths get 404, wrong keys 401, and a Content-Length above the limit 413. The origin checks the same again.
    Requests that a cassette or the real host may answer are passed on. This addon must come after the addons that
    handle proxy logins.
    """

    def __init__(
        self,
        settings: Settings,
        redirect: RedirectToOrigin,
        access: Callable[[], Awaitable[Access | None]],
        *,
        known: Callable[[Client], None],
        judged: Callable[[http.HTTPFlow], None],
    ) -> None:
        """``known`` is called for clients with a valid key, ``judged`` for each request after its check."""
        self._settings = settings
        self._redirect = redirect
        self._access = access
        self._known = known
        self._judged = judged
        self.bounds = Bounds(
            max_body_bytes=settings.max_body_bytes,
            max_bodies_bytes=settings.max_bodies_mb * 1024 * 1024,
            timeout_s=settings.request_timeout_s,
            min_bytes_per_s=settings.min_upload_bytes_per_s,
        )

    def next_layer(self, data: NextLayer) -> None:
        """Replace mitmproxy's ``HttpLayer`` with a ``BoundedHttpLayer``."""
        if data.layer is not None:
            data.layer = self._bounded(data.layer)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Check the request headers."""
        try:
            if flow.response is None and flow.error is None:
                await self._judge(flow)
            if flow.response is not None:
                # Do not send "100 Continue" for a refused request.
                flow.request.headers.pop("expect", None)
        finally:
            self._judged(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream the response if the request was streamed."""
        if flow.response is not None and STREAMED in flow.metadata and not flow.response.stream:
            flow.response.stream = True

    async def _judge(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        # Remove offers of compression: a compressed message may decompress to any size.
        request.headers.pop("sec-websocket-extensions", None)
        key = request.headers.get(KEY_HEADER)
        is_ours = self._redirect.is_ours(flow, logged_in=key is not None)
        if not is_ours and not self._is_intercepted(request):
            # The body is neither recorded nor inspected, so do not store it. Other hosts must not get the key.
            request.headers.pop(KEY_HEADER, None)
            flow.metadata[STREAMED] = request.stream = True
            return
        try:
            if is_ours:
                await self._refuse_early(flow)
            if self._settings.client_auth and (secret := key or bearer(as_request(request))):
                # Store a hash, not the key, since metadata is written to files.
                flow.metadata[HOLDER] = hash(secret)
            self._refuse_large(request)
        except OpenAIError as error:
            flow.response = http.Response.make(error.status, error.body(), dict(error_headers(error)))

    async def _refuse_early(self, flow: http.HTTPFlow) -> None:
        """Raise the OpenAIError that the origin would answer with, if the headers are enough to know it."""
        request = flow.request
        if not self._redirect.may_ask(flow):
            raise forbidden(ONLY_HERE)
        if request.pretty_host == MAGIC_HOST or is_root(request):
            return
        asked = as_request(request)
        completed = with_version(ROUTES, asked.path)
        # A cassette may answer other paths too.
        if self._settings.replay is None:
            find(ROUTES, asked.method, completed)
        access = await self._granted()
        needs_key = KEY_HEADER not in request.headers and not is_for_everybody(ROUTES, asked.method, completed)
        if access is not None and needs_key:
            await access.client(asked)
        self._known(flow.client_conn)

    def _refuse_large(self, request: http.Request) -> None:
        most = self._settings.max_body_bytes
        if content_length(request) > most:
            raise OpenAIError(too_large(most), status=413, code="request_too_large")

    async def _granted(self) -> Access | None:
        """Return the API keys. Return None if none is required, or if they cannot be read: the origin then answers."""
        if not self._settings.client_auth:
            return None
        try:
            return await self._access()
        except Exception:
            return None

    def _is_intercepted(self, request: http.Request) -> bool:
        hosts = self._settings.hosts
        return matches(request.host, hosts) or matches(request.pretty_host, hosts)

    def _bounded(self, layer: Layer) -> Layer:
        """Return the stack of layers with its last layer replaced, if that is mitmproxy's ``HttpLayer``."""
        if type(layer) is HttpLayer:
            layer.context.layers.remove(layer)
            return BoundedHttpLayer(layer.context, layer.mode, self.bounds)
        child = getattr(layer, "child_layer", None)
        if type(child) is HttpLayer:
            layer.child_layer = self._bounded(child)  # type: ignore[attr-defined]
        elif isinstance(child, Layer):
            self._bounded(child)
        return layer


def as_request(request: http.Request) -> Request:
    """Return the request headers as the origin sees them, with an empty body."""
    # mitmproxy decodes invalid UTF-8 to surrogates, which a response cannot contain. So decode the bytes here.
    path, _, query = request.data.path.decode("latin-1").partition("?")
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.fields)
    return Request(request.data.method.decode("latin-1"), path, query, headers, b"")


def content_length(request: http.Request) -> int:
    """Return the Content-Length in bytes; 0 if it is missing or not a number."""
    text = str(request.headers.get("content-length", "")).strip()
    return int(text[:20]) if text.isascii() and text.isdigit() else 0
