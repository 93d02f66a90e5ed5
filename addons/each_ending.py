"""The base class of addons that are told once how each exchange ended."""

from collections import Counter

from mitmproxy import http

from addons.ending import Ending, ending_of, ending_of_message, ending_of_socket

SWITCHED = 101
"""The status with which a WebSocket is opened."""


class EachEnding:
    """Calls :meth:`ended` once for each exchange: for each HTTP request, and for each request over a WebSocket.

    Its hooks must run after the real address of a flow has been restored.
    """

    def __init__(self) -> None:
        self._unanswered: Counter[str] = Counter()
        """How many requests on a WebSocket have not ended yet, by flow. Each message of the app is a request."""

    def ended(self, flow: http.HTTPFlow, ending: Ending) -> None:
        """Called when an exchange has ended."""
        raise NotImplementedError

    def opened(self, flow: http.HTTPFlow) -> None:
        """Called when a WebSocket was opened. The opening is not counted as an exchange."""

    def response(self, flow: http.HTTPFlow) -> None:
        """Report a request that was answered."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Report a request that broke off."""
        self._end(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Report a request on a WebSocket when the last message of its answer has come."""
        assert flow.websocket is not None  # noqa: S101 - that is what the hook is for
        message = flow.websocket.messages[-1]
        if message.from_client:
            self._unanswered[flow.id] += 1
        elif (ending := ending_of_message(message.content)) is not None:
            self._unanswered[flow.id] -= 1
            self.ended(flow, ending)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Report the requests that had no complete answer when their WebSocket was closed."""
        for _ in range(self._unanswered.pop(flow.id, 0)):
            self.ended(flow, ending_of_socket(flow))

    def _end(self, flow: http.HTTPFlow) -> None:
        if flow.response is not None and flow.response.status_code == SWITCHED:
            self.opened(flow)
        else:
            self.ended(flow, ending_of(flow))
