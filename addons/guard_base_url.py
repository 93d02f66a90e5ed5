"""Protects the base-URL door from web pages. The door is for programs.

A web page can send requests to any address that its browser can reach, and so to this door. With a form or a plain
``fetch`` it cannot read the answer. With a WebSocket it can. It can also let a host name of its own point to this
machine (DNS rebinding), and then read the answer. But the browser says which page sent a request (``Origin``,
``Sec-Fetch-Site``) and which host name was used (``Host``), and a page cannot change this.

If keys are required, a page without a key is refused anyway. Pages do not reach the other doors by themselves. The
proxy's own page can be reached through them, and :mod:`addons.guard_own_page` protects it.

A page that may use the door gets the headers of the CORS protocol
(https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from mitmproxy import ctx, http
from mitmproxy.net.http.url import hostport
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.hosts import is_this_machine, matches
from addons.redirect_to_origin import forbidden, refuse
from settings import Settings

# The names by which containers reach their host machine. No page can let them point to another machine.
OF_CONTAINERS = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host.lima.internal")

REACHED_AS = "understudy_reached_as"
"""``flow.metadata``: the Host header of a request to the base-URL door."""

METHODS = "GET, POST, DELETE, OPTIONS"


class GuardBaseUrl:
    """Refuses requests of web pages at the base-URL door, except those of allowed pages."""

    def __init__(self, settings: Settings) -> None:
        self._names = (*settings.base_url_hosts, *OF_CONTAINERS)
        self._origins = settings.origins
        self._keys = settings.client_auth

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Check which page sent a request, before the body is read."""
        if not isinstance(flow.client_conn.proxy_mode, ReverseMode) or flow.response:
            return
        request = flow.request
        reached = _host(request.host_header or "")
        if ctx.options.keep_host_header:
            flow.metadata[REACHED_AS] = request.host_header
            # From now on it is a request for the intercepted host.
            request.host_header = hostport(request.scheme, request.host, request.port)
            if not (self._keys or self._is_own(reached)):
                told = f"This door is not known as {reached!r}. If you meant that name, set base_url_hosts."
                refuse(flow, forbidden(told))
                return
        answer_page(flow, ("*",) if self._keys else self._origins)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Allow the page to read the response."""
        if isinstance(flow.client_conn.proxy_mode, ReverseMode):
            let_page_read(flow)

    def _is_own(self, host: str) -> bool:
        if is_this_machine(host) or matches(host, self._names):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def answer_page(flow: http.HTTPFlow, origins: Sequence[str]) -> None:
    """Refuse a request of a page that may not use the door. Answer a browser's preflight request for a page that may.

    ``origins`` are patterns of allowed origins. ``*`` allows all. Origins on this machine are always allowed.
    """
    request = flow.request
    origin = request.headers.get("origin")
    if origin is None:
        # For an image, a script or a form with GET, a browser sends no Origin, but it says that a page sent it.
        if request.headers.get("sec-fetch-site") == "cross-site" and not is_visit(request) and "*" not in origins:
            refuse(flow, forbidden("Web pages of other sites may not use this door."))
    elif not may_use(origin, origins):
        told = f"Web pages of {origin!r} may not use this door. Its operator can allow them: origins."
        refuse(flow, forbidden(told))
    elif request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        flow.response = http.Response.make(204, b"", preflight(request.headers, origin))


def is_visit(request: http.Request) -> bool:
    """Whether a person followed a link to this address. The page with the link does not see the answer."""
    told = request.headers.get
    return request.method == "GET" and told("sec-fetch-mode") == "navigate" and told("sec-fetch-dest") == "document"


def may_use(origin: str, origins: Sequence[str]) -> bool:
    """Whether pages of an origin may use the door.

    Pages that are served on this machine may use it. So may browser extensions and desktop programs (``app://``).
    """
    if any(pattern == "*" or matches(origin, (pattern,)) for pattern in origins):
        return True
    parts = _split(origin)
    if parts is None:
        return False
    scheme, host = parts
    return is_this_machine(host) if scheme in ("http", "https") else bool(scheme)


def let_page_read(flow: http.HTTPFlow) -> None:
    """Add the headers that allow the page to read the response to its request."""
    origin = flow.request.headers.get("origin")
    if origin is not None and flow.response:
        flow.response.headers["access-control-allow-origin"] = origin
        flow.response.headers["access-control-expose-headers"] = "*"
        flow.response.headers["vary"] = "origin"


def preflight(asked: http.Headers, origin: str) -> dict[str, str]:
    """Return the headers of the answer to a preflight request. They allow the browser to send the real request."""
    headers = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": asked.get("access-control-request-headers", ""),
        "access-control-max-age": "600",
        "vary": "origin",
    }
    if "access-control-request-private-network" in asked:
        headers["access-control-allow-private-network"] = "true"
    return headers


def _host(header: str) -> str:
    """Return the name in a Host header; "" if the header is invalid."""
    parts = _split(f"http://{header}")
    return parts[1] if parts else ""


def _split(origin: str) -> tuple[str, str] | None:
    """Return the scheme and the host of an origin; None if it has none (``null``) or is invalid."""
    try:
        parts = urlsplit(origin)
        return (parts.scheme, (parts.hostname or "").rstrip(".")) if parts.scheme and parts.netloc else None
    except ValueError:
        return None
