"""We log in to the proxy that stands between us and the world."""

import base64
from urllib.parse import unquote, urlsplit

from mitmproxy import http
from mitmproxy.proxy.mode_specs import UpstreamMode

HEADER = "proxy-authorization"


class LoginUpstream:
    """Show the login of ``upstream_proxy``'s URL to that proxy and to nobody else.

    mitmproxy's own ``upstream_auth`` would also put it into what comes by the base-URL door, in the place of the
    app's key.
    """

    def __init__(self, url: str) -> None:
        self._login = login_of(url)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Log in for a tunnel."""
        if self._login is not None:
            flow.request.headers[HEADER] = self._login

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Log in for a request whose body is passed on as it comes: its head goes first."""
        if flow.request.stream:
            self.request(flow)

    def request(self, flow: http.HTTPFlow) -> None:
        """Log in for a request that is not encrypted and goes through that proxy as it is."""
        through = isinstance(flow.client_conn.proxy_mode, UpstreamMode) and flow.server_conn.via is not None
        if self._login is not None and through and flow.request.scheme == "http" and flow.response is None:
            flow.request.headers[HEADER] = self._login

    def response(self, flow: http.HTTPFlow) -> None:
        """Forget the login, before anything looks at the finished flow."""
        flow.request.headers.pop(HEADER, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Forget the login."""
        flow.request.headers.pop(HEADER, None)


def login_of(url: str) -> str | None:
    """Return the header for a URL's user and password, None if it has none."""
    parts = urlsplit(url)
    if not parts.username:
        return None
    plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(plain.encode()).decode()}"
