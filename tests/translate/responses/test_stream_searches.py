"""A search of the web, told as OpenAI tells of its own, and what an answer cites of it."""

import json
from typing import Any

import pytest

from tests.translate.chat.test_stream import START, Event, delta, end, start, stop, text
from tests.translate.responses.test_stream import AT, body, part, respond, told


def search(content: Any, *, index: int = 0) -> list[Event]:
    return [
        start({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, index),
        delta({"type": "input_json_delta", "partial_json": '{"query": "wh'}, index),
        delta({"type": "input_json_delta", "partial_json": 'y"}'}, index),
        stop(index),
        start({"type": "web_search_tool_result", "tool_use_id": "s", "content": content}, index + 1),
        stop(index + 1),
    ]


PAGE = {"type": "web_search_result", "url": "https://example.com/a", "title": "A", "encrypted_content": "x"}
CITED = {"type": "web_search_result_location", "url": PAGE["url"], "title": "A", "cited_text": "x"}


def test_a_search_of_the_web_is_an_item_that_is_told_of_as_it_goes() -> None:
    events = respond([START, *search([PAGE]), *text("Because.", index=2), end()], show_sources=True)

    at = {"item_id": "ws_1", "output_index": 0}
    found = {"type": "search", "query": "why", "sources": [{"type": "url", "url": "https://example.com/a"}]}
    item = {"type": "web_search_call", "id": "ws_1"}
    begun = {**item, "status": "in_progress", "action": {"type": "search", "query": ""}}
    assert told(events)[:5] == [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.web_search_call.in_progress", **at},
        {"type": "response.web_search_call.searching", **at},
        {"type": "response.web_search_call.completed", **at},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "status": "completed", "action": found},
        },
    ]
    assert [each["type"] for each in body(events)["output"]] == ["web_search_call", "message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ([], "completed"),
        ({"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}, "failed"),
    ],
)
def test_a_search_may_find_nothing_or_fail(content: Any, status: str) -> None:
    output = body(respond([START, *search(content), *text("Well.", index=2), end()]))["output"]

    assert output[0] == {
        "type": "web_search_call",
        "id": "ws_1",
        "status": status,
        "action": {"type": "search", "query": "why"},
    }


def test_searches_that_are_asked_for_together_each_have_their_own_result() -> None:
    asked = [
        event
        for place, query in enumerate(("why", "how"))
        for event in (
            start({"type": "server_tool_use", "id": query, "name": "web_search", "input": {}}, place),
            delta({"type": "input_json_delta", "partial_json": json.dumps({"query": query})}, place),
            stop(place),
        )
    ]
    failed = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    found = [
        event
        for place, (query, content) in enumerate((("how", [PAGE]), ("why", failed)), start=2)
        for event in (
            start({"type": "web_search_tool_result", "tool_use_id": query, "content": content}, place),
            stop(place),
        )
    ]
    events = respond([START, *asked, *found, *text("So.", index=4), end()], show_sources=True)

    output = body(events)["output"]
    sources = [{"type": "url", "url": PAGE["url"]}]
    assert [(item["type"], item["status"], item.get("action")) for item in output] == [
        ("web_search_call", "failed", {"type": "search", "query": "why"}),
        ("web_search_call", "completed", {"type": "search", "query": "how", "sources": sources}),
        ("message", "completed", None),
    ]
    done = [event["item"] for event in told(events) if event["type"] == "response.output_item.done"]
    assert done == [output[1], output[0], output[2]]


def test_a_search_without_a_result_ends_with_the_answer() -> None:
    output = body(respond([START, *search([])[:4], *text("Well.", index=1), end()]))["output"]

    assert [(item["type"], item["status"]) for item in output] == [
        ("web_search_call", "completed"),
        ("message", "completed"),
    ]


def test_a_citation_covers_the_characters_of_its_block() -> None:
    cited = text("so it is", index=1)
    cited.insert(1, delta({"type": "citations_delta", "citation": CITED}, 1))
    cited.insert(3, delta({"type": "citations_delta", "citation": CITED}, 1))
    events = respond([START, *text("I think "), *cited, *text(".", index=2), end()])

    annotation = {"type": "url_citation", "url": PAGE["url"], "title": "A", "start_index": 8, "end_index": 16}
    (message,) = body(events)["output"]
    assert message["content"] == [{**part("I think so it is."), "annotations": [annotation]}]
    added = [event for event in told(events) if event["type"] == "response.output_text.annotation.added"]
    assert added == [
        {"type": "response.output_text.annotation.added", **AT, "annotation_index": 0, "annotation": annotation}
    ]


def test_the_first_text_of_a_message_may_cite_too() -> None:
    cited = text("so it is", index=2)
    cited.insert(1, delta({"type": "citations_delta", "citation": CITED}, 2))
    events = respond([START, *search([PAGE]), *cited, *text(".", index=3), end()])

    _, message = body(events)["output"]
    annotation = {"type": "url_citation", "url": PAGE["url"], "title": "A", "start_index": 0, "end_index": 8}
    assert message["content"] == [{**part("so it is."), "annotations": [annotation]}]
