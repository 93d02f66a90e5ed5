"""Counts the requests for the intercepted hosts, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from mitmproxy import http

from addons.each_ending import EachEnding
from addons.ending import Ending
from addons.hosts import matches


@dataclass(slots=True)
class Requests:
    """The number of requests: ``all``, those that ``failed``, and those that the app ``left`` before the end."""

    all: int = 0
    failed: int = 0
    left: int = 0


class CountRequests(EachEnding):
    """Counts the requests of apps: each HTTP request, and each request over a WebSocket.

    Requests for the proxy's own page are not counted. Requests that are passed on to the real host are counted.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        super().__init__()
        self._hosts = hosts
        self.requests = Requests()

    def ended(self, flow: http.HTTPFlow, ending: Ending) -> None:
        """Count a request."""
        if not (matches(flow.request.host, self._hosts) or matches(flow.request.pretty_host, self._hosts)):
            return
        self.requests.all += 1
        if ending.outcome == "cut_by_app":
            self.requests.left += 1
        elif ending.failed:
            self.requests.failed += 1
