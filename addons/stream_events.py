"""Event streams are passed on as they come."""

from mitmproxy import http

ENDED = "understudy_ended"
"""``flow.metadata``: the event that ends a stream has been passed on, so whoever hangs up now has the whole answer."""

ENDS = (b"data: [DONE]", b"event: response.completed", b"event: response.incomplete", b"event: response.failed")
"""How the lines begin that end a stream. No piece of a text looks like one: JSON has no line breaks of its own."""


class StreamEvents:
    """Pass ``text/event-stream`` on chunk by chunk; mitmproxy would otherwise hold an answer until it is whole."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Switch streaming on."""
        if flow.response and flow.response.headers.get("content-type", "").startswith("text/event-stream"):

            def watched(data: bytes) -> bytes:
                if data.startswith(ENDS) or any(b"\n" + end in data for end in ENDS):
                    flow.metadata[ENDED] = True
                return data

            flow.response.stream = watched
