"""Event streams are passed on as they come; other answers are not."""

import pytest
from mitmproxy.test import tflow

from addons.stream_events import StreamEvents


@pytest.mark.parametrize(
    ("content_type", "streamed"),
    [("text/event-stream; charset=utf-8", True), ("text/event-stream", True), ("application/json", False), ("", False)],
)
def test_only_event_streams_are_streamed(content_type: str, streamed: bool) -> None:
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.response.headers["content-type"] = content_type

    StreamEvents().responseheaders(flow)

    assert flow.response.stream is streamed
