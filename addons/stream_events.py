"""Event streams are passed on as they come."""

from mitmproxy import http


class StreamEvents:
    """Pass ``text/event-stream`` on chunk by chunk; mitmproxy would otherwise hold an answer until it is whole."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Switch streaming on."""
        if flow.response and flow.response.headers.get("content-type", "").startswith("text/event-stream"):
            flow.response.stream = True
