"""Logs in to the upstream proxy, through which Understudy reaches other hosts."""

import base64
from urllib.parse import unquote, urlsplit

from mitmproxy import http
from mitmproxy.proxy.mode_specs import UpstreamMode

HEADER = "proxy-authorization"


class LoginUpstream:
    """Sends the login in the URL ``upstream_proxy`` to that proxy only.

    mitmproxy's own option ``upstream_auth`` would also put it into requests at the base-URL door, in place of the app's
    key.
    """

    def __init__(self, url: str) -> None:
        self._login = login_of(url)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Add the login to a request for a tunnel."""
        if self._login is not None:
            flow.request.headers[HEADER] = self._login

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Add the login to a request whose body is streamed, because its headers are sent before the body has come."""
        if flow.request.stream:
            self.request(flow)

    def request(self, flow: http.HTTPFlow) -> None:
        """Add the login to an unencrypted request, which the upstream proxy can read."""
        through = isinstance(flow.client_conn.proxy_mode, UpstreamMode) and flow.server_conn.via is not None
        if self._login is not None and through and flow.request.scheme == "http" and flow.response is None:
            flow.request.headers[HEADER] = self._login

    def response(self, flow: http.HTTPFlow) -> None:
        """Remove the login before other addons see the finished flow."""
        flow.request.headers.pop(HEADER, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Remove the login."""
        flow.request.headers.pop(HEADER, None)


def login_of(url: str) -> str | None:
    """Return the header for the user and the password in a URL; None if it has no user."""
    parts = urlsplit(url)
    if not parts.username:
        return None
    plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(plain.encode()).decode()}"
