"""Protects the proxy's own page, http://understudy.local/, from other sites' pages. It is for people and programs.

There are two ways for a web page to send a request there:

- The browser uses this proxy, and the page requests this host name. The ``Origin`` header shows this.
- The page's own host name points to the proxy's port (DNS rebinding), and the page requests it directly. The proxy then
  reads the destination from the ``Host`` header. The port in that header shows this.

A browser that has logged in to the proxy sends its key with the requests of all pages. So a key gives no access here.
"""

from mitmproxy import http
from mitmproxy.net.http.url import default_port, parse_authority

from addons.guard_base_url import answer_page, let_page_read
from addons.redirect_to_origin import MAGIC_HOST, forbidden, is_own_page, refuse
from settings import Settings

GUARDED = "understudy_guarded"
"""``flow.metadata``: this is a request for the proxy's own page."""


class GuardOwnPage:
    """Refuses requests of web pages for the proxy's own page, except those of allowed pages."""

    def __init__(self, settings: Settings) -> None:
        self._origins = settings.origins

    def request(self, flow: http.HTTPFlow) -> None:
        """Check which page sent a request, and that its address and its Host header both name the proxy."""
        request = flow.request
        if flow.response or not is_own_page(request):
            return
        if not is_for_own_page_alone(request):
            refuse(flow, forbidden(f"The proxy's own page is http://{MAGIC_HOST}/, asked for through the proxy."))
            return
        flow.metadata[GUARDED] = True
        answer_page(flow, self._origins)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Allow the page to read the response."""
        if flow.metadata.pop(GUARDED, False):
            let_page_read(flow)


def is_for_own_page_alone(request: http.Request) -> bool:
    """Whether a request's address and its Host header both name the proxy, with the default port of the scheme."""
    usual = default_port(request.scheme)
    host, port = parse_authority(request.host_header or "", check=False)
    return (
        request.host.rstrip(".").lower() == host.rstrip(".").lower() == MAGIC_HOST
        and request.port == usual
        and port in (None, usual)
    )
