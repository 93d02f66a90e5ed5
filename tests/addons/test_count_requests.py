"""How many requests came, and how they ended."""

from dataclasses import asdict

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.test import tflow, tutils
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.count_requests import CountRequests


def flow(status: int | None = 200, host: str = "api.openai.com", error: str | None = None) -> http.HTTPFlow:
    request = tutils.treq(scheme=b"https", host=host, port=443)
    response = status is not None and tutils.tresp(status_code=status)
    result = tflow.tflow(req=request, resp=response)
    result.error = Error(error) if error else None
    return result


@pytest.fixture
def count() -> CountRequests:
    return CountRequests(["api.openai.com"])


def test_answers_failures_and_requests_that_the_app_left_are_told_apart(count: CountRequests) -> None:
    for status in (200, 200, 400, 503):
        count.response(flow(status))
    count.error(flow(None, error="Client disconnected."))
    count.error(flow(200, error="server closed connection"))

    assert asdict(count.requests) == {"all": 6, "failed": 3, "left": 1}


def test_requests_to_other_hosts_are_not_counted(count: CountRequests) -> None:
    count.response(flow(host="example.com"))
    count.error(flow(None, host="understudy.local", error="Client disconnected."))

    assert count.requests.all == 0


def test_over_a_websocket_each_request_counts_and_the_handshake_does_not(count: CountRequests) -> None:
    socket = flow(101)
    count.response(socket)
    socket.websocket = tflow.twebsocketflow().websocket
    assert socket.websocket is not None
    for content in (b'{"type":"response.created"}', b'{"type":"response.completed"}', b'{"type":"response.failed"}'):
        socket.websocket.messages.append(WebSocketMessage(Opcode.TEXT, False, content))
        count.websocket_message(socket)
    socket.websocket.messages.append(WebSocketMessage(Opcode.TEXT, True, b'{"type":"response.completed"}'))
    count.websocket_message(socket)

    assert asdict(count.requests) == {"all": 2, "failed": 1, "left": 0}


@pytest.mark.parametrize(("by_client", "expected"), [(True, (3, 0, 2)), (False, (3, 2, 0))])
def test_requests_that_the_end_of_a_websocket_cuts_off_are_counted(
    count: CountRequests, by_client: bool, expected: tuple[int, int, int]
) -> None:
    socket = flow(101)
    socket.websocket = tflow.twebsocketflow().websocket
    assert socket.websocket is not None
    ask, end = b'{"type":"response.create"}', b'{"type":"response.completed"}'
    for from_client, content in ((True, ask), (True, ask), (False, end), (True, ask)):
        socket.websocket.messages.append(WebSocketMessage(Opcode.TEXT, from_client, content))
        count.websocket_message(socket)
    socket.websocket.closed_by_client = by_client
    count.websocket_end(socket)

    assert (count.requests.all, count.requests.failed, count.requests.left) == expected
