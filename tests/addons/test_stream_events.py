"""Event streams are passed on as they come; other answers are not."""

import pytest
from mitmproxy.test import tflow

from addons.stream_events import ENDED, StreamEvents


@pytest.mark.parametrize(
    ("content_type", "streamed"),
    [("text/event-stream; charset=utf-8", True), ("text/event-stream", True), ("application/json", False), ("", False)],
)
def test_only_event_streams_are_streamed(content_type: str, streamed: bool) -> None:
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.response.headers["content-type"] = content_type

    StreamEvents().responseheaders(flow)

    assert bool(flow.response.stream) is streamed


@pytest.mark.parametrize(
    ("chunk", "ended"),
    [
        (b'data: {"a": 1}\n\n', False),
        (b'data: {"a": "data: [DONE]"}\n\n', False),
        (b'data: {"a": 1}\n\ndata: [DONE]\n\n', True),
        (b"data: [DONE]\n\n", True),
        (b"event: response.completed\ndata: {}\n\n", True),
    ],
)
def test_the_flow_notes_whether_the_last_event_was_passed_on(chunk: bytes, ended: bool) -> None:
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.response.headers["content-type"] = "text/event-stream"
    StreamEvents().responseheaders(flow)

    assert callable(flow.response.stream)
    assert flow.response.stream(chunk) == chunk
    assert flow.metadata.get(ENDED, False) is ended
