"""How many requests came for the hosts that we stand in for, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from mitmproxy import http

from addons.ending import Ending, ending_of, ending_of_message
from addons.hosts import matches

SWITCHED = 101


@dataclass(slots=True)
class Requests:
    """Counts of requests: of ``all``, so many ``failed``, and so many were ``left`` by the app before their end."""

    all: int = 0
    failed: int = 0
    left: int = 0


class CountRequests:
    """Count the requests of apps: each HTTP request, and each request over a WebSocket.

    It needs each flow after its real address was put back. What is asked of the proxy itself has other hosts and is not
    counted; requests that are passed through to the real host are.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts
        self.requests = Requests()

    def response(self, flow: http.HTTPFlow) -> None:
        """Count a request that was answered."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Count a request that broke off."""
        self._end(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Count a request over a WebSocket that has ended."""
        assert flow.websocket is not None  # noqa: S101 - that is what the hook is for
        message = flow.websocket.messages[-1]
        if message.from_client or not self._is_ours(flow):
            return
        if (ending := ending_of_message(message.content)) is not None:
            self._count(ending)

    def _end(self, flow: http.HTTPFlow) -> None:
        if not self._is_ours(flow) or (flow.response is not None and flow.response.status_code == SWITCHED):
            return
        self._count(ending_of(flow))

    def _is_ours(self, flow: http.HTTPFlow) -> bool:
        return matches(flow.request.host, self._hosts) or matches(flow.request.pretty_host, self._hosts)

    def _count(self, ending: Ending) -> None:
        self.requests.all += 1
        if ending.outcome == "cut_by_app":
            self.requests.left += 1
        elif ending.failed:
            self.requests.failed += 1
