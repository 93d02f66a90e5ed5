"""Each exchange's end is told once, over HTTP and over WebSockets."""

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.each_ending import EachEnding
from addons.ending import Ending

ASK, BEGUN, DONE = b'{"type":"response.create"}', b'{"type":"response.created"}', b'{"type":"response.completed"}'


class Told(EachEnding):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[str] = []
        self.sockets = 0

    def ended(self, flow: http.HTTPFlow, ending: Ending) -> None:
        self.outcomes.append(ending.outcome)

    def opened(self, flow: http.HTTPFlow) -> None:
        self.sockets += 1


@pytest.mark.parametrize(("by_client", "cut"), [(True, "cut_by_app"), (False, "failed")])
def test_requests_cut_off_by_the_end_of_a_websocket_are_reported(by_client: bool, cut: str) -> None:
    told, flow = Told(), tflow.twebsocketflow()
    assert flow.websocket is not None
    told.response(flow)
    for from_client, content in ((True, ASK), (True, ASK), (False, BEGUN), (False, DONE), (True, ASK)):
        flow.websocket.messages.append(WebSocketMessage(Opcode.TEXT, from_client, content))
        told.websocket_message(flow)
    assert told.outcomes == ["done"]

    flow.websocket.closed_by_client = by_client
    told.websocket_end(flow)
    told.websocket_end(flow)

    assert told.outcomes == ["done", cut, cut]
    assert told.sockets == 1


def test_answers_and_what_breaks_off_are_told() -> None:
    told, broken = Told(), tflow.tflow()
    broken.error = Error("Client disconnected.")
    told.response(tflow.tflow(resp=True))
    told.error(broken)
    assert told.outcomes == ["done", "cut_by_app"]
    assert told.sockets == 0
