"""Flows as mitmproxy has them, shown by its own content view machinery."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.contentviews import Metadata
from mitmproxy.test import tflow, tutils

from addons.contentview import METADATA, ConversationContentview
from cassettes.format import Entry
from cassettes.read import read

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "exchanges").glob("*.jsonl"))
VIEW = ConversationContentview()


def flow_of(entry: Entry, *, with_claude: bool = True) -> http.HTTPFlow:
    request = tutils.treq(method=b"POST", path=entry.request.path.encode(), content=entry.request.body)
    headers = [(name.encode(), value.encode()) for name, value in entry.headers.items() if isinstance(value, str)]
    response = tutils.tresp(status_code=entry.status or 200, headers=http.Headers(headers), content=entry.body)
    flow = tflow.tflow(req=request, resp=response)
    if with_claude:
        flow.metadata[METADATA] = {
            "turns": [entry.turn] if entry.turn else [],
            "events": [[event.at_ms, event.of, event.value] for event in entry.events],
            "chunks": [[chunk.at_ms, len(chunk.data)] for chunk in entry.chunks],
        }
    return flow


def shown(flow: http.HTTPFlow, message: Any) -> str:
    return VIEW.prettify(message.raw_content or b"", Metadata(flow=flow, http_message=message))


def entry_of(name: str) -> Entry:
    (entry,) = read(next(path for path in FIXTURES if path.stem == name))
    assert isinstance(entry, Entry)
    return entry


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("with_claude", [True, False])
def test_every_kind_of_exchange_is_shown_as_a_conversation(path: Path, with_claude: bool) -> None:
    (entry,) = read(path)
    assert isinstance(entry, Entry)
    flow = flow_of(entry, with_claude=with_claude)
    asked, answered = shown(flow, flow.request), shown(flow, flow.response)
    assert asked.startswith("gpt-4o\n") and "user\n" in asked
    assert "{" not in asked.split("user\n")[1] or "tool" in path.stem
    assert "data: " not in answered


def test_an_answer_is_assembled_with_claudes_side_below_it() -> None:
    flow = flow_of(entry_of("chat_tool_calls"))
    told = shown(flow, flow.response)
    assert "I look." in told and "→ look_up(" in told
    assert "Claude's: model" in told and "first token" in told


def test_a_refused_request_tells_the_error() -> None:
    flow = flow_of(entry_of("chat_refused_parameter"))
    assert "logit_bias" in shown(flow, flow.response)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/v1/chat/completions", True),
        ("/v1/responses/resp_1", True),
        ("/v1/completions?x=1", True),
        ("/v1/models", False),
    ],
)
def test_the_view_is_the_default_only_for_openais_apis(path: str, first: bool) -> None:
    flow = tflow.tflow(req=tutils.treq(path=path.encode()), resp=True)
    metadata = Metadata(flow=flow, http_message=flow.request)
    assert (VIEW.render_priority(b"{}", metadata) > 1) is first
    assert VIEW.render_priority(b"", metadata) < 0
    assert VIEW.render_priority(b"{}", Metadata()) < 0


@pytest.mark.parametrize("seed", range(40))
def test_a_broken_message_is_still_shown(seed: int) -> None:
    chance = random.Random(seed)
    entry = entry_of(chance.choice([path.stem for path in FIXTURES]))
    flow = flow_of(entry)
    assert flow.response is not None
    flow.metadata[METADATA] = chance.choice([None, 3, {"events": [[1]], "chunks": "x", "turns": [3]}, {"events": {}}])
    for message in (flow.request, flow.response):
        data = bytearray(message.raw_content or b"")
        for _ in range(chance.randint(1, 20)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        message.raw_content = bytes(data[: chance.randint(0, len(data))])
        assert isinstance(shown(flow, message), str)


def test_depth_is_an_error_that_mitmproxy_can_show() -> None:
    flow = tflow.tflow(req=tutils.treq(method=b"POST", path=b"/v1/chat/completions", content=b""))
    deep = json.dumps({"messages": []}).replace("[]", "[" * 500 + "]" * 500).encode()
    flow.request.raw_content = deep
    assert isinstance(shown(flow, flow.request), str)
