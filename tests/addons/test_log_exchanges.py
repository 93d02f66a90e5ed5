"""One line for each exchange."""

import logging

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.test import tflow, tutils

from addons.log_exchanges import LogExchanges
from addons.stream_events import ENDED


def test_an_answer_is_told_with_who_gave_it(caplog: pytest.LogCaptureFixture) -> None:
    flow = tflow.tflow(req=tutils.treq(scheme=b"https", host="api.openai.com", path=b"/v1/x?key=1"), resp=True)
    assert flow.response is not None
    flow.response.headers["x-understudy-model"] = "claude-x"
    flow.response.headers["x-understudy-process"] = "warm"
    flow.response.headers["x-understudy-rehearsal"] = "no model was asked"

    with caplog.at_level(logging.INFO):
        LogExchanges().response(flow)

    (line,) = caplog.messages
    assert "/v1/x 200, by claude-x (warm process), REHEARSAL" in line
    assert "key=1" not in line


def test_an_exchange_that_was_cut_off_is_told(caplog: pytest.LogCaptureFixture) -> None:
    flow = tflow.tflow()
    flow.error = Error("Client disconnected.")

    with caplog.at_level(logging.INFO):
        LogExchanges().error(flow)

    assert "cut off (Client disconnected.)" in caplog.text


def test_a_disconnect_after_the_end_is_logged_as_a_complete_answer(caplog: pytest.LogCaptureFixture) -> None:
    flow = tflow.tflow(resp=True)
    flow.error = Error("stream reset by client (CANCEL)")
    flow.metadata[ENDED] = True

    with caplog.at_level(logging.INFO):
        LogExchanges().error(flow)

    assert "cut off" not in caplog.text
    assert " 200" in caplog.text


ERROR = b'{"error": {"message": "No", "type": "server_error", "code": "overloaded"}}'


def test_an_answer_of_400_or_more_has_failed_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    flow = tflow.tflow(resp=tutils.tresp(status_code=503, content=ERROR))
    addon = LogExchanges()

    with caplog.at_level(logging.INFO):
        addon.response(flow)

    assert " 503, failed (overloaded)" in caplog.text
    assert addon.status() == {"exchanges": {"done": 0, "failed": 1, "cut_by_app": 0}}


def test_a_stream_that_told_an_error_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    headers = http.Headers(content_type="text/event-stream")
    flow = tflow.tflow(resp=tutils.tresp(headers=headers, content=b"data: 1\n\ndata: " + ERROR + b"\n\n"))
    with caplog.at_level(logging.INFO):
        LogExchanges().response(flow)
    assert " 200, failed (overloaded)" in caplog.text


def test_exchanges_are_counted_by_how_they_ended() -> None:
    addon = LogExchanges()
    addon.response(tflow.tflow(resp=True))
    addon.response(tflow.tflow(resp=tutils.tresp(status_code=400)))
    cut, broken = tflow.tflow(), tflow.tflow(resp=True)
    cut.error, broken.error = Error("Client disconnected."), Error("server closed connection")
    addon.error(cut)
    addon.error(broken)
    socket = tflow.twebsocketflow()
    assert socket.websocket is not None
    addon.response(socket)
    for content in (b'{"type":"response.completed"}', b'{"type":"error","error":{}}', b'{"type":"response.failed"}'):
        socket.websocket.messages[-1].from_client = False
        socket.websocket.messages[-1].content = content
        addon.websocket_message(socket)

    assert addon.status() == {"exchanges": {"done": 2, "failed": 3, "cut_by_app": 1}}


def test_a_failure_is_told_with_the_name_that_the_rest_of_the_log_has_for_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed, answered = tflow.tflow(resp=True), tflow.tflow(resp=True)
    assert failed.response is not None and answered.response is not None
    failed.response.status_code = 502
    for response in (failed.response, answered.response):
        response.headers["x-request-id"] = "req_7"

    with caplog.at_level(logging.INFO):
        for flow in (failed, answered):
            LogExchanges().response(flow)

    assert ["request req_7" in line for line in caplog.messages] == [True, False]


def test_a_request_over_a_websocket_that_the_app_left_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    socket, addon = tflow.twebsocketflow(), LogExchanges()
    assert socket.websocket is not None
    socket.websocket.messages[-1].from_client = True
    socket.websocket.closed_by_client = True

    with caplog.at_level(logging.INFO):
        addon.websocket_message(socket)
        addon.websocket_end(socket)

    assert "cut off (Client disconnected.)" in caplog.text
    assert addon.status() == {"exchanges": {"done": 0, "failed": 0, "cut_by_app": 1}}
