"""Event streams are passed on as they come."""

from mitmproxy import http

from cassettes.assemble import assemble
from cassettes.openai_bodies import error_in
from cassettes.outcome import reason

ENDED = "understudy_ended"
"""``flow.metadata``: the event that ends a stream has been passed on, so whoever hangs up now has the whole answer."""

ERROR = "understudy_error"
"""``flow.metadata``: the error that a stream has told, in a few words."""

ENDS = (b"data: [DONE]", b"event: response.completed", b"event: response.incomplete", b"event: response.failed")
"""How the lines begin that end a stream. No piece of a text looks like one: JSON has no line breaks of its own."""

ERRORS = (b'data: {"error"', b"event: error", b"event: response.failed")
"""How the lines begin that tell an error."""


class StreamEvents:
    """Pass ``text/event-stream`` on chunk by chunk; mitmproxy would otherwise hold an answer until it is whole."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Switch streaming on."""
        if flow.response and flow.response.headers.get("content-type", "").startswith("text/event-stream"):

            def watched(data: bytes) -> bytes:
                if has_line(data, ENDS):
                    flow.metadata[ENDED] = True
                if has_line(data, ERRORS):
                    flow.metadata[ERROR] = reason(None, error_in(assemble("text/event-stream", data)))
                return data

            flow.response.stream = watched


def has_line(data: bytes, beginnings: tuple[bytes, ...]) -> bool:
    """Whether a line of a chunk begins so."""
    return data.startswith(beginnings) or any(b"\n" + one in data for one in beginnings)
