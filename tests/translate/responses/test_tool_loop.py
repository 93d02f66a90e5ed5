"""Several messages of Claude's are told as one answer, its calls as a connector's."""

from typing import Any

from tests.translate.chat.test_stream import START, Event, call, end, start, stop, text, thinking
from translate.responses.mcp import McpCall
from translate.responses.tool_loop import Called, Result, ToolLoop

MINE = {"crm__look": McpCall("crm", "look")}
CALL = Called("t", "crm__look", {}, MINE["crm__look"])


def told(loop: ToolLoop, events: list[Event]) -> list[dict[str, Any]]:
    return [dict(one) for event in events for one in loop.feed(event)]


def test_a_call_is_told_in_the_connectors_words_and_kept_in_claudes() -> None:
    loop = ToolLoop(MINE)
    using = call("t", "crm__look", '{"a"', ": 1}", index=1)
    events = told(loop, [START, *thinking("Hm", "sig"), *using, end("tool_use")])

    begun = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert begun[1] == {"type": "mcp_tool_use", "id": "t", "name": "look", "server_name": "crm", "input": {}}
    assert loop.content == (
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "tool_use", "id": "t", "name": "crm__look", "input": {"a": 1}},
    )
    assert loop.calls == [Called("t", "crm__look", {"a": 1}, McpCall("crm", "look"))]
    assert "message_delta" not in [event["type"] for event in events]


def test_messages_go_on_in_one_answer_and_their_usage_adds_up() -> None:
    loop = ToolLoop(MINE)
    events = told(loop, [START, *call("t", "crm__look", "{}"), end("tool_use")])
    events += map(dict, loop.told(Result(()).told(CALL)))
    events += told(loop, [START, *text("Done."), end()])
    last = loop.finish()

    assert [event["type"] for event in events].count("message_start") == 1
    assert [event["index"] for event in events if event["type"] == "content_block_start"] == [0, 1, 2]
    assert last["delta"]["stop_reason"] == "end_turn"
    assert last["usage"]["output_tokens"] == 2 * end()["usage"]["output_tokens"]
    assert loop.calls == []


def test_the_tool_is_called_with_the_numbers_that_claude_wrote_and_claude_sees_all_their_digits() -> None:
    loop = ToolLoop(MINE)
    told(loop, [START, *call("t", "crm__look", '{"id": 1234567890123456789}'), end("tool_use")])

    assert loop.calls[0].input == {"id": 1234567890123456789}
    # Claude Code's own numbers have fewer.
    assert loop.content[0]["input"] == {"id": "1234567890123456789"}


def test_a_result_is_told_to_the_app_and_given_to_claude() -> None:
    said = ({"type": "text", "text": "no"},)
    result = Result(said, is_error=True)

    assert result.told(CALL) == {"type": "mcp_tool_result", "tool_use_id": "t", "is_error": True, "content": [*said]}
    assert result.given(CALL) == {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": [*said]}
    assert Result(()).given(CALL) == {"type": "tool_result", "tool_use_id": "t"}


def test_the_apps_own_calls_stay_its_own() -> None:
    loop = ToolLoop(MINE)
    events = told(loop, [START, *call("t", "mine", "[1]"), end("tool_use")])

    assert events[1]["content_block"]["type"] == "tool_use"
    assert loop.calls == [Called("t", "mine", {}, None)]


def test_an_answer_that_was_cut_has_called_nothing() -> None:
    loop = ToolLoop(MINE)
    told(loop, [START, *call("t", "crm__look", '{"a'), end("max_tokens")])

    assert loop.calls == []
    assert loop.finish()["delta"]["stop_reason"] == "max_tokens"


def test_empty_text_and_blocks_of_other_servers_are_not_sent_back() -> None:
    loop = ToolLoop(MINE)
    search: list[Event] = [start({"type": "server_tool_use", "id": "s", "name": "x"}), stop(), {"type": "a new kind"}]
    told(loop, [START, *search, *text(" ", index=1), *text("a", index=2), end()])

    assert loop.content == ({"type": "text", "text": "a"},)
