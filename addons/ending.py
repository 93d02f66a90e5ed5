"""Decides how a flow ended, for the log, for mitmproxy's views and for the counts."""

import json
import re
from dataclasses import dataclass

from mitmproxy import http

from addons.stream_events import ENDED, ERROR
from cassettes.assemble import assemble, is_complete, is_event_stream
from cassettes.format import How
from cassettes.openai_bodies import error_in
from cassettes.outcome import DONE, FAILED, outcome, reason

_KIND = re.compile(rb'\s*\{\s*"type":\s*"(response\.completed|response\.incomplete|response\.failed|error)"')


@dataclass(frozen=True, slots=True)
class Ending:
    """How a flow ended. ``outcome`` is that of :func:`cassettes.outcome.outcome`. ``reason`` is "" after a success."""

    outcome: How
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether the app did not get a complete answer."""
        return self.outcome != DONE


def ending_of(flow: http.HTTPFlow) -> Ending:
    """Return how a finished flow ended."""
    response = flow.response
    if error := flow.metadata.get(ERROR):
        return Ending(FAILED, str(error))
    if flow.metadata.get(ENDED):
        # Some clients disconnect as soon as they have read the last event of a stream.
        return Ending(DONE)
    if flow.error is not None:
        return Ending("cut_by_app" if "client" in flow.error.msg.lower() else FAILED, flow.error.msg)
    if response is None:
        return Ending(FAILED, "no answer")
    kind = response.headers.get("content-type", "")
    body = response.get_content(strict=False) or b""
    if response.status_code >= 400:
        error = error_in(assemble(kind, body))
        return Ending(FAILED, reason(None, error) if error else "")
    if not is_event_stream(kind):
        return Ending(DONE)
    # Here the stream's pieces did not begin with whole events, so the whole body is read.
    error = error_in(assemble(kind, body))
    how = DONE if error is None and is_complete(body) else FAILED
    return Ending(outcome(how, response.status_code), "" if how == DONE else reason(None, error))


def ending_of_message(content: bytes) -> Ending | None:
    """Return how a request over a WebSocket ended; None if this message from the API does not end one.

    An ``error`` message without a status ends nothing: ``response.failed`` follows.
    """
    match = _KIND.match(content)
    if match is None:
        return None
    if match[1] in (b"response.completed", b"response.incomplete"):
        return Ending(DONE)
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if match[1] == b"response.failed":
        return Ending(FAILED, reason(None, error_in(message.get("response"))))
    return Ending(FAILED, reason(message["status"], error_in(message))) if message.get("status") else None


def ending_of_socket(flow: http.HTTPFlow) -> Ending:
    """Return how a request ended whose WebSocket was closed before its answer was complete."""
    by_app = flow.websocket is None or flow.websocket.closed_by_client is not False
    return Ending("cut_by_app", "Client disconnected.") if by_app else Ending(FAILED, "server closed connection")
