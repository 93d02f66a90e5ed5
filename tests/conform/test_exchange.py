"""Reading an exchange: event streams, WebSocket messages, bodies."""

import pytest

from conform.exchange import NOT_JSON, Event, Exchange, kind_of, short

SSE = {"content-type": "text/event-stream; charset=utf-8"}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_an_event_stream_is_read_as_the_standard_says(line_end: str) -> None:
    lines = ["event: a", "data: {", "data:}", "", ": a comment", "", "data: [DONE]", "", ""]

    exchange = Exchange(name="a stream", dialect="chat", headers=SSE, text=line_end.join(lines))

    assert exchange.events == (Event("a", "{\n}"), Event(None, "[DONE]"))
    assert (exchange.events[0].value, exchange.events[1].value) == ({}, NOT_JSON)


def test_the_messages_of_a_websocket_are_events_without_names() -> None:
    exchange = Exchange(name="a socket", dialect="responses", messages=['{"type": "error"}', "7"])

    assert exchange.is_stream
    assert [(event.name, event.fields) for event in exchange.events] == [(None, {"type": "error"}), (None, {})]


@pytest.mark.parametrize(
    ("status", "content_type", "asked", "is_stream"),
    [
        pytest.param(200, "application/json", {"stream": True}, True, id="a stream was asked for"),
        pytest.param(200, "text/event-stream", None, True, id="the answer says so"),
        pytest.param(400, "application/json", {"stream": True}, False, id="an error"),
        pytest.param(200, "application/json", {}, False, id="a body"),
    ],
)
def test_what_is_read_as_a_stream(status: int, content_type: str, asked: object, is_stream: bool) -> None:
    headers = {"content-type": content_type}

    assert Exchange(name="x", dialect="chat", status=status, headers=headers, request=asked).is_stream is is_stream


def test_a_body_that_is_nested_too_deeply_is_no_json() -> None:
    assert Exchange(name="x", dialect="chat", text="[" * 100_000).body is NOT_JSON


def test_values_are_named_and_shortened() -> None:
    assert [kind_of(None), kind_of(True), kind_of(1), kind_of(1.5)] == ["null", "boolean", "integer", "number"]
    assert [kind_of(""), kind_of([]), kind_of({})] == ["string", "list", "map"]
    assert short("x" * 100, 5) == '"xxxx…'
    assert short(NOT_JSON) == "no JSON"
