"""The base-URL door is for programs, not for whatever page a browser on this machine happens to show.

A page may send requests to any address that its browser reaches, also this one: blindly by a form or a plain ``fetch``,
and readably by a WebSocket, or under a name of its own that it lets point here (DNS rebinding). Browsers say where such
a request comes from (``Origin``, ``Sec-Fetch-Site``) and under which name the door was reached (``Host``); no page can
say otherwise. Where keys are asked for, a page without one is refused anyway. Through the other doors no page comes by
itself; the proxy's own page, which can be reached through them, has a guard beside this one.

Pages that may use the door get what browsers ask for (https://fetch.spec.whatwg.org/#http-cors-protocol).
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

# What containers call the machine that they run on. They point nowhere else, so no page can use them.
OF_CONTAINERS = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal", "host.lima.internal")

REACHED_AS = "understudy_reached_as"
"""``flow.metadata``: the Host header with which the base-URL door was reached."""

METHODS = "GET, POST, DELETE, OPTIONS"


class GuardBaseUrl:
    """Refuse what web pages ask at the base-URL door, unless they may."""

    def __init__(self, settings: Settings) -> None:
        self._names = (*settings.base_url_hosts, *OF_CONTAINERS)
        self._origins = settings.origins
        self._keys = settings.client_auth

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look where a request comes from, before its body is read."""
        if not isinstance(flow.client_conn.proxy_mode, ReverseMode) or flow.response:
            return
        request = flow.request
        reached = _host(request.host_header or "")
        if ctx.options.keep_host_header:
            flow.metadata[REACHED_AS] = request.host_header
            # From here on it is a request for the host that we stand in for.
            request.host_header = hostport(request.scheme, request.host, request.port)
            if not (self._keys or self._is_own(reached)):
                told = f"This door is not known as {reached!r}. If you meant that name, set base_url_hosts."
                refuse(flow, forbidden(told))
                return
        answer_page(flow, ("*",) if self._keys else self._origins)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let a page that may use the door read the answer."""
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
    """Refuse a request of a page that may not use the door; tell a browser that asks first that its page may.

    ``origins`` are patterns of the origins that may, beside those of this machine; ``*`` is for all.
    """
    request = flow.request
    origin = request.headers.get("origin")
    if origin is None:
        # A picture, a script or a form that only reads: a browser tells no origin then, but that there is a page.
        if request.headers.get("sec-fetch-site") == "cross-site" and not is_visit(request) and "*" not in origins:
            refuse(flow, forbidden("Web pages of other sites may not use this door."))
    elif not may_use(origin, origins):
        told = f"Web pages of {origin!r} may not use this door. Its operator can allow them: origins."
        refuse(flow, forbidden(told))
    elif request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        flow.response = http.Response.make(204, b"", preflight(request.headers, origin))


def is_visit(request: http.Request) -> bool:
    """Whether a person has followed a link to here: they see the answer, and the page that they came from does not."""
    told = request.headers.get
    return request.method == "GET" and told("sec-fetch-mode") == "navigate" and told("sec-fetch-dest") == "document"


def may_use(origin: str, origins: Sequence[str]) -> bool:
    """Whether pages of an origin may use the door.

    Pages served on this machine may, and so may programs that are made of pages (``app://``, extensions).
    """
    if any(pattern == "*" or matches(origin, (pattern,)) for pattern in origins):
        return True
    parts = _split(origin)
    if parts is None:
        return False
    scheme, host = parts
    return is_this_machine(host) if scheme in ("http", "https") else bool(scheme)


def let_page_read(flow: http.HTTPFlow) -> None:
    """Let the page that has sent a request read its answer."""
    origin = flow.request.headers.get("origin")
    if origin is not None and flow.response:
        flow.response.headers["access-control-allow-origin"] = origin
        flow.response.headers["access-control-expose-headers"] = "*"
        flow.response.headers["vary"] = "origin"


def preflight(asked: http.Headers, origin: str) -> dict[str, str]:
    """Return what lets a browser send the request that it asks about."""
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
    """Return the name in a Host header, "" for one that cannot be read."""
    parts = _split(f"http://{header}")
    return parts[1] if parts else ""


def _split(origin: str) -> tuple[str, str] | None:
    """Return the scheme and the host of an origin, None for none (``null``)."""
    try:
        parts = urlsplit(origin)
        return (parts.scheme, (parts.hostname or "").rstrip(".")) if parts.scheme and parts.netloc else None
    except ValueError:
        return None
