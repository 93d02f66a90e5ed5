"""What the log and the counts have in common: they hear how each exchange ended, once."""

from collections import Counter

from mitmproxy import http

from addons.ending import Ending, ending_of, ending_of_message, ending_of_socket

SWITCHED = 101
"""The status with which a WebSocket is opened."""


class EachEnding:
    """An addon whose :meth:`ended` is called for each exchange: each HTTP request, and each request over a WebSocket.

    It needs each flow after its real address was put back.
    """

    def __init__(self) -> None:
        self._unanswered: Counter[str] = Counter()
        """How many requests over a WebSocket have not ended yet, by flow. Each message of an app's is one."""

    def ended(self, flow: http.HTTPFlow, ending: Ending) -> None:
        """Hear how an exchange ended."""
        raise NotImplementedError

    def opened(self, flow: http.HTTPFlow) -> None:
        """Hear of a WebSocket that was opened. That is no exchange."""

    def response(self, flow: http.HTTPFlow) -> None:
        """Tell of a request that was answered."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Tell of a request that broke off."""
        self._end(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Tell of a request over a WebSocket whose last message this is."""
        assert flow.websocket is not None  # noqa: S101 - that is what the hook is for
        message = flow.websocket.messages[-1]
        if message.from_client:
            self._unanswered[flow.id] += 1
        elif (ending := ending_of_message(message.content)) is not None:
            self._unanswered[flow.id] -= 1
            self.ended(flow, ending)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Tell of the requests that the end of a WebSocket has cut off."""
        for _ in range(self._unanswered.pop(flow.id, 0)):
            self.ended(flow, ending_of_socket(flow))

    def _end(self, flow: http.HTTPFlow) -> None:
        if flow.response is not None and flow.response.status_code == SWITCHED:
            self.opened(flow)
        else:
            self.ended(flow, ending_of(flow))
