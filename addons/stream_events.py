"""Passes event streams on as they come."""

from mitmproxy import http

from cassettes.assemble import assemble
from cassettes.openai_bodies import error_in
from cassettes.outcome import reason

ENDED = "understudy_ended"
"""``flow.metadata``: the last event of a stream was passed on. A client that disconnects now has the whole answer."""

ERROR = "understudy_error"
"""``flow.metadata``: the error in a stream, in a few words."""

ENDS = (b"data: [DONE]", b"event: response.completed", b"event: response.incomplete", b"event: response.failed")
"""How the last event of a stream begins. Text of the model cannot look like this, since JSON escapes line breaks."""

ERRORS = (b'data: {"error"', b"event: error", b"event: response.failed")
"""How events with an error begin."""


class StreamEvents:
    """Passes ``text/event-stream`` on chunk by chunk. By default mitmproxy holds a response until it is complete."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Turn streaming on for an event stream, and look for its end and for errors."""
        if flow.response and flow.response.headers.get("content-type", "").startswith("text/event-stream"):

            def watched(data: bytes) -> bytes:
                if has_line(data, ENDS):
                    flow.metadata[ENDED] = True
                if has_line(data, ERRORS):
                    flow.metadata[ERROR] = reason(None, error_in(assemble("text/event-stream", data)))
                return data

            flow.response.stream = watched


def has_line(data: bytes, beginnings: tuple[bytes, ...]) -> bool:
    """Whether a line of a chunk begins with one of these."""
    return data.startswith(beginnings) or any(b"\n" + one in data for one in beginnings)
