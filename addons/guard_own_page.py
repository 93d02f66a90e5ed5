"""The proxy's own page, http://understudy.local/, is for programs and people too, not for other sites' pages.

Two ways lead a page there. A browser that uses this proxy sends what its pages ask for this name. And a page whose name
points at the proxy's own port (DNS rebinding) asks it directly: the proxy takes such a request's destination from its
``Host`` header. The first are known by their origin, the second by the port beside the name.

A browser that has logged in to the proxy shows its key with every page's requests, so a key allows nothing here.
"""

from mitmproxy import http
from mitmproxy.net.http.url import default_port, parse_authority

from addons.guard_base_url import answer_page, let_page_read
from addons.redirect_to_origin import MAGIC_HOST, forbidden, is_own_page, refuse
from settings import Settings

GUARDED = "understudy_guarded"
"""``flow.metadata``: a request of a page, for the proxy's own page."""


class GuardOwnPage:
    """Refuse what web pages ask of the proxy itself, unless they may."""

    def __init__(self, settings: Settings) -> None:
        self._origins = settings.origins

    def request(self, flow: http.HTTPFlow) -> None:
        """Look where a request comes from, and that it is for this host under every name that it tells."""
        request = flow.request
        if flow.response or not is_own_page(request):
            return
        if not is_for_own_page_alone(request):
            refuse(flow, forbidden(f"The proxy's own page is http://{MAGIC_HOST}/, asked for through the proxy."))
            return
        flow.metadata[GUARDED] = True
        answer_page(flow, self._origins)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let a page that may use it read the answer."""
        if flow.metadata.pop(GUARDED, False):
            let_page_read(flow)


def is_for_own_page_alone(request: http.Request) -> bool:
    """Whether a request's address and its Host header both name the proxy, at the port that its scheme has."""
    usual = default_port(request.scheme)
    host, port = parse_authority(request.host_header or "", check=False)
    return (
        request.host.rstrip(".").lower() == host.rstrip(".").lower() == MAGIC_HOST
        and request.port == usual
        and port in (None, usual)
    )
