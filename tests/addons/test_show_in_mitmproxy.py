from collections.abc import AsyncIterator
from typing import Any

import pytest
from mitmproxy import contentviews
from mitmproxy.test import tflow

from addons.redirect_to_origin import REAL_ADDRESS
from addons.show_in_mitmproxy import FAILED, ShowInMitmproxy
from engine import Event
from engine.around import Around
from origin.witness import FLOW_HEADER, Witnesses
from translate.turn import Message, Turn
from views.conversation import METADATA

TURN = Turn(model="sonnet", messages=(Message("user", ({"type": "text", "text": "Hi"},)),))


class Nobody(Around):
    def __init__(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Event]:
        return
        yield {}


def test_what_claude_said_and_when_it_came_is_kept_with_the_flow() -> None:
    witnesses = Witnesses()
    addon, flow = ShowInMitmproxy(witnesses), tflow.tflow(resp=True)
    assert flow.response is not None
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    real, flow.response = flow.response, None
    addon.request(flow)
    flow.response = real

    (note,) = witnesses._witnesses[flow.request.headers[FLOW_HEADER]]
    note.turn(0, TURN, Nobody())
    note.event(0, {"type": "ping"})
    flow.response.stream = True
    addon.responseheaders(flow)
    pass_on: Any = flow.response.stream
    assert pass_on(b"data: 1\n\n") == b"data: 1\n\n"
    flow.response.headers["x-understudy-process"] = "warm"
    flow.response.headers["x-understudy-model"] = "claude-x"
    addon.response(flow)

    told = flow.metadata[METADATA]
    assert told["turns"] == [
        {"model": "sonnet", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    ]
    assert [event[1:] for event in told["events"]] == [[0, {"type": "ping"}]]
    assert [size for _, size in told["chunks"]] == [9]
    assert flow.comment.startswith("warm · claude-x · ")
    assert flow.marked == "" and witnesses._witnesses == {}


@pytest.mark.parametrize("kind", ["status", "error"])
def test_what_went_wrong_is_marked(kind: str) -> None:
    addon, flow = ShowInMitmproxy(Witnesses()), tflow.tflow(err=kind == "error")
    flow.metadata[REAL_ADDRESS] = ("https", "api.openai.com", 443, None)
    addon.request(flow)
    if kind == "status":
        flow.response = tflow.tflow(resp=True).response
        assert flow.response is not None
        flow.response.status_code = 429
        addon.response(flow)
    else:
        addon.error(flow)
    assert flow.marked == FAILED


def test_what_is_not_ours_is_left_alone() -> None:
    addon, flow = ShowInMitmproxy(Witnesses()), tflow.tflow(resp=True)
    addon.request(flow)
    addon.responseheaders(flow)
    addon.response(flow)
    assert METADATA not in flow.metadata and flow.comment == "" and flow.marked == ""


def test_the_view_is_registered_once() -> None:
    addon = ShowInMitmproxy(Witnesses())
    addon.running()
    addon.running()
    assert "understudy" in {name.lower() for name in contentviews.registry.available_views()}
