from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from mitmproxy import contentviews, http
from mitmproxy.addons.view import View
from mitmproxy.contentviews import Metadata
from mitmproxy.flow import Error
from mitmproxy.test import taddons, tflow, tutils

from addons.contentview import METADATA, ConversationContentview
from addons.redirect_to_origin import REAL_ADDRESS
from addons.show_in_mitmproxy import FAILED, ShowInMitmproxy
from addons.stream_events import StreamEvents
from engine import Event
from engine.around import Around
from engine.observers import FLOW_HEADER, Observers
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

TURN = Turn(model="sonnet", messages=(Message("user", ({"type": "text", "text": "Hi"},)),))


class Nobody(Around):
    def __init__(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Event]:
        return
        yield {}


@pytest.fixture(autouse=True)
def mitmproxy() -> Iterator[taddons.context]:
    with taddons.context() as context:  # type: ignore[no-untyped-call]
        yield context


async def test_claudes_events_and_their_times_are_stored_in_the_flow() -> None:
    observers = Observers()
    addon, flow = ShowInMitmproxy(observers), tflow.tflow(resp=True)
    assert flow.response is not None
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    real, flow.response = flow.response, None
    addon.request(flow)
    flow.response = real

    (note,) = observers._witnesses[flow.request.headers[FLOW_HEADER]]
    note.turn(0, TURN, Nobody())
    note.event(0, {"type": "ping"})
    flow.response.stream = True
    addon.responseheaders(flow)
    pass_on: Any = flow.response.stream
    assert pass_on(b"data: 1\n\n") == b"data: 1\n\n"
    flow.response.headers["x-understudy-process"] = "warm"
    flow.response.headers["x-understudy-model"] = "claude-x"
    await addon.response(flow)

    told = flow.metadata[METADATA]
    assert told["turns"] == [
        {"model": "sonnet", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    ]
    assert [event[1:] for event in told["events"]] == [[0, {"type": "ping"}]]
    assert [size for _, size in told["chunks"]] == [9]
    assert flow.comment.startswith("warm · claude-x · ")
    assert flow.marked == "" and observers._witnesses == {}


def streaming(content_type: str = "text/event-stream") -> http.HTTPFlow:
    """A flow of ours to the chat endpoint, whose answer has begun."""
    flow = tflow.tflow(
        req=tutils.treq(method=b"POST", path=b"/v1/chat/completions", content=b'{"model": "gpt-4o", "messages": []}'),
        resp=tutils.tresp(headers=http.Headers(content_type=content_type), content=None),
    )
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    return flow


def play(addon: ShowInMitmproxy, flow: http.HTTPFlow, *pieces: bytes) -> None:
    """Pass the pieces of an answer as mitmproxy does."""
    response, flow.response = flow.response, None
    addon.request(flow)
    flow.response = response
    assert flow.response is not None
    StreamEvents().responseheaders(flow)
    addon.responseheaders(flow)
    for piece in pieces:
        assert callable(flow.response.stream)
        assert flow.response.stream(piece) == piece


BEGIN = b'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Once upon"}}]}\n\n'
ERROR = b'data: {"error": {"message": "No", "type": "server_error", "code": "overloaded"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("pieces", "hang_up", "marked", "comment"),
    [
        ((BEGIN, DONE), "", False, ""),
        ((BEGIN, DONE), "Client disconnected.", False, ""),
        ((BEGIN, ERROR), "", True, "overloaded"),
        ((BEGIN, ERROR), "Client disconnected.", True, "overloaded"),
        ((BEGIN,), "", True, "it broke off"),
        ((BEGIN,), "Client disconnected.", True, "Client disconnected."),
        ((b'event: error\ndata: {"type": "error", "code": "timeout"}\n\n',), "", True, "timeout"),
        ((b'event: response.failed\ndata: {"response": {"error": {"code": "x"}}}\n\n',), "", True, "x"),
    ],
)
async def test_a_stream_that_failed_is_marked_and_found_so(
    mitmproxy: taddons.context, pieces: tuple[bytes, ...], hang_up: str, marked: bool, comment: str
) -> None:
    addon, flow, view = ShowInMitmproxy(Observers()), streaming(), View()
    mitmproxy.master.addons.add(view)  # type: ignore[no-untyped-call]
    view.set_filter_cmd("~marked")
    view.requestheaders(flow)  # type: ignore[no-untyped-call]
    play(addon, flow, *pieces)
    assert flow.response is not None
    if hang_up:
        flow.error = Error(hang_up)
        view.error(flow)  # type: ignore[no-untyped-call]
        await addon.error(flow)
    else:
        flow.response.content = b"".join(pieces)
        view.response(flow)  # type: ignore[no-untyped-call]
        await addon.response(flow)

    assert flow.marked == (FAILED if marked else "")
    assert flow.comment.endswith(comment)
    # What mitmproxy shows under this filter, which had looked at the flow before it was marked.
    assert list(view) == ([flow] if marked else [])


async def test_the_part_sent_before_a_disconnect_is_shown() -> None:
    addon, flow = ShowInMitmproxy(Observers()), streaming()
    play(addon, flow, BEGIN, BEGIN)
    flow.error = Error("Client disconnected.")
    await addon.error(flow)

    assert flow.response is not None and flow.response.content == BEGIN * 2
    shown = ConversationContentview().prettify(BEGIN * 2, Metadata(flow=flow, http_message=flow.response))
    assert "Once uponOnce upon" in shown and "cut_by_app" in shown and "Client disconnected." in shown


@pytest.mark.parametrize("kind", ["status", "error"])
async def test_a_failed_flow_is_marked(kind: str) -> None:
    addon, flow = ShowInMitmproxy(Observers()), tflow.tflow(err=kind == "error")
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    addon.request(flow)
    if kind == "status":
        flow.response = tflow.tflow(resp=True).response
        assert flow.response is not None
        flow.response.status_code = 429
        await addon.response(flow)
    else:
        await addon.error(flow)
    assert flow.marked == FAILED


@pytest.mark.parametrize(
    ("message", "marked"),
    [
        (b'{"type":"response.completed","response":{}}', False),
        (b'{"type":"response.failed","response":{"error":{"code":"server_error"}}}', True),
        (b'{"type":"error","status":503,"error":{"code":"overloaded"}}', True),
        (b'{"type":"response.output_text.delta","delta":"response.failed"}', False),
    ],
)
async def test_a_websocket_over_which_a_request_failed_is_marked(message: bytes, marked: bool) -> None:
    addon, flow = ShowInMitmproxy(Observers()), tflow.twebsocketflow()
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    assert flow.websocket is not None
    flow.websocket.messages[-1].from_client = False
    flow.websocket.messages[-1].content = message
    await addon.websocket_message(flow)
    assert flow.marked == (FAILED if marked else "")


async def test_a_flow_of_another_host_is_not_changed() -> None:
    addon, flow = ShowInMitmproxy(Observers()), tflow.tflow(resp=True)
    addon.request(flow)
    addon.responseheaders(flow)
    await addon.response(flow)
    assert METADATA not in flow.metadata and flow.comment == "" and flow.marked == ""


def test_the_view_is_registered_once() -> None:
    addon = ShowInMitmproxy(Observers())
    addon.running()
    addon.running()
    assert "understudy" in {name.lower() for name in contentviews.registry.available_views()}
