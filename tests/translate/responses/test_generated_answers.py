"""Whatever Claude answers and however it is cut, the events, the body and what an app puts together are one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.translate.chat.test_stream import START, Event, call, end, start, stop, text, thinking
from tests.translate.responses.test_stream import body, machine, respond, told
from translate.chat.finish_reason import FINISH_REASON
from translate.claude_stream import ClaudeProtocolError
from translate.errors import openai_error
from translate.responses.wire import ResponseEvent

words = st.text(min_size=1, max_size=8)
pieces = st.lists(words, max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Return the events of an answer: any blocks, cut anywhere, ended for any reason."""
    events: list[Event] = [START]
    for index in range(draw(st.integers(0, 5))):
        match draw(st.sampled_from(["text", "call", "thinking", "redacted", "server"])):
            case "text":
                events += text(*draw(pieces), index=index)
            case "call":
                events += call(f"toolu_{index}", "f", *draw(pieces), index=index)
            case "thinking":
                events += thinking(draw(words), draw(words), index)
            case "redacted":
                events += [start({"type": "redacted_thinking", "data": draw(words)}, index), stop(index)]
            case _:
                events += [start({"type": "server_tool_use", "id": "s", "name": "x"}, index), stop(index)]
    if len(events) > 1 and draw(st.booleans()):
        events.pop()
        if events[-1]["type"] == "content_block_stop":
            events.append(start({"type": "text", "text": ""}, 9))
    return [*events, end(draw(st.sampled_from([*FINISH_REASON, "new"])))]


options = st.fixed_dictionaries({"show_summary": st.booleans(), "show_encrypted": st.booleans()})


def rebuilt(events: list[ResponseEvent]) -> list[dict[str, Any]]:
    """Put the output together from what was added, from the deltas and from the parts, as an app does that streams."""
    output: list[dict[str, Any]] = []
    for raw in told(events):
        kind = raw["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert raw["output_index"] == len(output)
            output.append(raw["item"])
            continue
        item = output[raw["output_index"]]
        assert raw.get("item_id", item["id"]) == item["id"]
        match kind:
            case "content_part.added":
                item["content"].append(raw["part"])
            case "output_text.delta":
                item["content"][raw["content_index"]]["text"] += raw["delta"]
            case "refusal.delta":
                item["content"][raw["content_index"]]["refusal"] += raw["delta"]
            case "function_call_arguments.delta":
                item["arguments"] += raw["delta"]
            case "reasoning_summary_part.added":
                item["summary"].append(raw["part"])
            case "reasoning_summary_text.delta":
                item["summary"][raw["summary_index"]]["text"] += raw["delta"]
            case "output_text.annotation.added":
                assert raw["annotation_index"] == len(item["content"][raw["content_index"]]["annotations"])
                item["content"][raw["content_index"]]["annotations"].append(raw["annotation"])
            case "custom_tool_call_input.delta":
                item["input"] += raw["delta"]
            case "custom_tool_call_input.done":
                assert item["input"] == raw["input"]
            case "mcp_call_arguments.delta":
                item["arguments"] += raw["delta"]
            case "mcp_call_arguments.done":
                assert item["arguments"] == raw["arguments"]
            case "mcp_call.in_progress" | "mcp_call.completed" | "mcp_call.failed":
                assert item["type"] == "mcp_call"
            case "mcp_list_tools.in_progress" | "mcp_list_tools.completed":
                assert item["type"] == "mcp_list_tools"
            case "web_search_call.in_progress" | "web_search_call.searching" | "web_search_call.completed":
                assert item["type"] == "web_search_call"
            case "output_text.done":
                assert item["content"][raw["content_index"]]["text"] == raw["text"]
            case "refusal.done":
                assert item["content"][raw["content_index"]]["refusal"] == raw["refusal"]
            case "content_part.done":
                assert item["content"][raw["content_index"]] == raw["part"]
            case "function_call_arguments.done":
                assert (item["arguments"], item["name"]) == (raw["arguments"], raw["name"])
            case "reasoning_summary_text.done":
                assert item["summary"][raw["summary_index"]]["text"] == raw["text"]
            case "reasoning_summary_part.done":
                assert item["summary"][raw["summary_index"]] == raw["part"]
            case _:
                assert kind == "output_item.done"
                late = ("encrypted_content", "status", "action", "arguments", "output", "error", "tools", "phase")
                sealed = {key: raw["item"][key] for key in late if key in raw["item"]}
                assert {**item, **sealed} == raw["item"]
                item |= sealed
    return output


@given(answers(), options)
def test_the_stream_and_the_body_never_disagree(events: list[Event], options: dict[str, bool]) -> None:
    answer = respond(events, **options)

    assert rebuilt(answer) == body(answer)["output"]


@given(answers(), options, st.data())
def test_splitting_deltas_changes_nothing_but_the_deltas(
    events: list[Event], options: dict[str, bool], data: st.DataObject
) -> None:
    split: list[Event] = []
    for event in events:
        field = next((f for f in ("text", "partial_json", "thinking") if f in event.get("delta", {})), None)
        if field is None:
            split.append(event)
            continue
        whole = event["delta"][field]
        at = data.draw(st.integers(0, len(whole)))
        split += [{**event, "delta": {**event["delta"], field: piece}} for piece in (whole[:at], whole[at:])]

    assert body(respond(split, **options)) == body(respond(events, **options))


@given(answers(), st.data())
def test_a_response_cut_anywhere_fails_and_never_looks_whole(events: list[Event], data: st.DataObject) -> None:
    stream = machine()
    cut = data.draw(st.integers(0, len(events) - 1))
    answer = [event for raw in events[:cut] for event in stream.feed(raw)]

    with pytest.raises(ClaudeProtocolError):
        stream.feed_eof()
    answer += stream.failed(openai_error("stream_error"))

    assert body(answer)["status"] == "failed"
    assert [event.sequence_number for event in answer] == list(range(len(answer)))
