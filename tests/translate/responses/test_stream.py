"""Claude's events become those of a response, in OpenAI's order, however they are cut."""

from typing import Any

import msgspec
import pytest

from tests.translate.chat.test_stream import START, Event, call, delta, end, start, stop, text, thinking
from translate.chat.finish_reason import FINISH_REASON
from translate.claude_stream import TRANSITIONS, ClaudeProtocolError, State
from translate.claude_wire import EVENTS
from translate.errors import OpenAIError, openai_error
from translate.responses.fold import fold
from translate.responses.offered import Offered
from translate.responses.reasoning import unpack
from translate.responses.stream import ERROR_CODES, INCOMPLETE, ResponseOptions, ResponseStream
from translate.responses.wire import Echo, ResponseEvent
from translate.sse import type_of


def seal(block: bytes) -> str:
    return "sealed:" + block.decode()


def machine(**options: Any) -> ResponseStream:
    numbers: dict[str, int] = {}

    def new_id(prefix: str) -> str:
        numbers[prefix] = numbers.get(prefix, 0) + 1
        return f"{prefix}_{numbers[prefix]}"

    decided = ResponseOptions(**{"echo": Echo(model="gpt-5"), **options})
    return ResponseStream(decided, id="resp_1", created_at=10, new_id=new_id, now=lambda: 12, seal=seal)


def respond(events: list[Event], **options: Any) -> list[ResponseEvent]:
    stream = machine(**options)
    result = [event for raw in events for event in stream.feed(raw)]
    stream.feed_eof()
    return result


def told(events: list[ResponseEvent]) -> list[dict[str, Any]]:
    """Return what the events between the first two and the last tell, without their numbers."""
    encoded = [msgspec.to_builtins(event) for event in events[2:-1]]
    return [{key: value for key, value in event.items() if key != "sequence_number"} for event in encoded]


def body(events: list[ResponseEvent]) -> dict[str, Any]:
    return dict(msgspec.to_builtins(fold(events)))


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def test_a_text_is_a_message_with_one_part_in_openais_order() -> None:
    events = respond([START, *text("Hel", "lo"), end()])

    message = {"id": "msg_1", "type": "message", "role": "assistant"}
    whole = {**message, "status": "completed", "content": [part("Hello")], "phase": "final_answer"}
    assert [type_of(event) for event in events[:2]] == ["response.created", "response.in_progress"]
    assert told(events) == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**message, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **AT, "part": part("")},
        {"type": "response.output_text.delta", **AT, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **AT, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **AT, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **AT, "part": part("Hello")},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": whole,
        },
    ]
    assert type_of(events[-1]) == "response.completed"
    assert body(events)["output"] == [whole]


def test_a_custom_tools_input_is_text_as_it_grows() -> None:
    events = respond(
        [START, *call("toolu_patch", "patch", '{"input": "a\\', "nb", '"}'), end("tool_use")],
        tools={"patch": Offered("p", "ns", "custom")},
    )

    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "toolu_patch", "name": "p", "namespace": "ns"}
    at = {"item_id": "ctc_1", "output_index": 0}
    assert told(events) == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "input": "", "status": "in_progress"},
        },
        {"type": "response.custom_tool_call_input.delta", **at, "delta": "a"},
        {"type": "response.custom_tool_call_input.delta", **at, "delta": "\nb"},
        {"type": "response.custom_tool_call_input.done", **at, "input": "a\nb"},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "input": "a\nb", "status": "completed"},
        },
    ]


@pytest.mark.parametrize("arguments", [r'{"query": "\ude00"}', '{"query": "x'], ids=["half a pair", "cut short"])
def test_a_search_for_tools_whose_arguments_cannot_be_told_has_none(arguments: str) -> None:
    events = respond(
        [START, *call("t", "tool_search", arguments), end("tool_use")],
        tools={"tool_search": Offered("tool_search", kind="tool_search")},
    )

    assert body(events)["output"][0]["arguments"] == {}


def test_a_function_of_a_namespace_is_called_by_its_own_name() -> None:
    events = respond(
        [START, *call("t", "crm__look", "{}"), end("tool_use")], tools={"crm__look": Offered("look", "crm")}
    )

    (item,) = body(events)["output"]
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "crm", "look")


def test_before_the_first_call_of_a_deferred_tool_comes_the_search_that_finds_it() -> None:
    lazy = {"type": "function", "name": "look", "defer_loading": True}
    namespace = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [lazy]}
    calls = [*call("t1", "crm__look", "{}"), *call("t2", "crm__look", "{}", index=1)]
    events = respond([START, *calls, end("tool_use")], tools={"crm__look": Offered("look", "crm", deferred=namespace)})

    done = {"execution": "server", "call_id": None, "status": "completed"}
    search = {"type": "tool_search_call", "id": "tsc_1", "arguments": {"paths": ["crm"]}, **done}
    found = {"type": "tool_search_output", "id": "tso_1", "tools": [namespace], **done}
    output = body(events)["output"]
    assert output[:2] == [search, found]
    assert [item["type"] for item in output[2:]] == ["function_call", "function_call"]
    assert [(event["type"], event["output_index"], event["item"]) for event in told(events)[:4]] == [
        ("response.output_item.added", 0, search),
        ("response.output_item.done", 0, search),
        ("response.output_item.added", 1, found),
        ("response.output_item.done", 1, found),
    ]


def test_events_are_numbered_from_zero_without_a_gap() -> None:
    events = respond([START, *thinking("Hm", "sig"), *text("Hi", index=1), *call("t", "f", "{}", index=2), end()])

    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_call_is_an_item_of_its_own() -> None:
    events = respond([START, *text("Let me see."), *call("toolu_1", "look", '{"a"', ":1}", index=1), end("tool_use")])

    item = {"id": "fc_1", "type": "function_call", "call_id": "toolu_1", "name": "look"}
    at = {"item_id": "fc_1", "output_index": 1}
    assert [event["type"] for event in told(events)].count("response.output_item.done") == 2
    assert told(events)[-5:] == [
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {**item, "arguments": "", "status": "in_progress"},
        },
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", **at, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", **at, "name": "look", "arguments": '{"a":1}'},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {**item, "arguments": '{"a":1}', "status": "completed"},
        },
    ]
    assert body(events)["status"] == "completed"


def test_calls_at_once_are_items_in_their_order() -> None:
    output = body(respond([START, *call("t1", "a", "{}"), *call("t2", "b", "{}", index=1), end("tool_use")]))["output"]

    assert [(item["call_id"], item["name"]) for item in output] == [("t1", "a"), ("t2", "b")]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    events = respond([START, *call("t", "f"), end("tool_use")])

    assert [event["delta"] for event in told(events) if "delta" in event] == ["{}"]
    assert body(events)["output"][0]["arguments"] == "{}"


def test_a_call_that_max_tokens_cuts_is_incomplete_as_it_stands() -> None:
    events = respond([START, *call("t", "f", '{"a": "b')[:-1], end("max_tokens")])

    output = body(events)["output"]
    assert (output[0]["arguments"], output[0]["status"]) == ('{"a": "b', "incomplete")
    assert body(events)["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_call_that_is_cut_before_its_arguments_has_none() -> None:
    events = respond([START, *call("t", "f")[:-1], end("max_tokens")])

    assert body(events)["output"][0]["arguments"] == ""


def test_texts_that_follow_each_other_are_one_part_of_one_message() -> None:
    events = respond([START, *text("It is "), *text("sunny", index=1), *text(".", index=2), end()])

    assert body(events)["output"][0]["content"] == [part("It is sunny.")]


def test_blocks_of_other_server_tools_are_left_out() -> None:
    server = [
        start({"type": "server_tool_use", "id": "s", "name": "code_execution"}, 1),
        delta({"type": "input_json_delta", "partial_json": "{}"}, 1),
        stop(1),
        start({"type": "code_execution_tool_result", "tool_use_id": "s", "content": []}, 2),
        stop(2),
    ]

    output = body(respond([START, *text("Let me "), *server, *text("see", index=3), end()]))["output"]

    assert [item["content"] for item in output] == [[part("Let me see")]]


def test_notes_on_a_conversation_are_an_item_that_only_we_can_read() -> None:
    events = respond([START, *thinking("Hm", "sig"), *text("We ", "counted.", index=1), end()], compact=True)

    sealed = 'sealed:{"type":"text","text":"We counted."}'
    item = {"type": "compaction", "id": "cmp_1"}
    assert told(events) == [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "encrypted_content": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "encrypted_content": sealed}},
    ]


@pytest.mark.parametrize("why", ["max_tokens", "refusal"])
def test_notes_on_a_conversation_that_are_cut_short_are_not_told(why: str) -> None:
    assert told(respond([START, *text("We "), end(why)], compact=True)) == []


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    output = body(respond([START, *text("a"), *call("t", "f", "{}", index=1), *text("b", index=2), end()]))["output"]

    assert [(item["type"], item["id"]) for item in output] == [
        ("message", "msg_1"),
        ("function_call", "fc_1"),
        ("message", "msg_2"),
    ]


def test_thinking_is_an_item_without_its_words_unless_they_are_asked_for() -> None:
    events = respond([START, *thinking("Hm", "sig"), *text("Hi", index=1), end()])

    item = {"id": "rs_1", "type": "reasoning", "summary": []}
    assert told(events)[:2] == [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    assert [item["type"] for item in body(events)["output"]] == ["reasoning", "message"]


def test_a_summary_is_told_as_claude_thinks() -> None:
    events = respond([START, *thinking("Hm, yes", "sig"), *text("Hi", index=1), end()], show_summary=True)

    at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    whole = {"type": "summary_text", "text": "Hm, yes"}
    assert told(events)[1:6] == [
        {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": "Hm, yes"},
        {"type": "response.reasoning_summary_text.done", **at, "text": "Hm, yes"},
        {"type": "response.reasoning_summary_part.done", **at, "part": whole},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"id": "rs_1", "type": "reasoning", "summary": [whole]},
        },
    ]


def test_thinking_is_sealed_with_its_signature_if_that_is_asked_for() -> None:
    events = respond([START, *thinking("Hm", "sig"), end()], show_encrypted=True)

    added, done = told(events)[0]["item"], told(events)[1]["item"]
    assert added["encrypted_content"] is None
    assert unpack(done["encrypted_content"].removeprefix("sealed:").encode()) == {
        "type": "thinking",
        "thinking": "Hm",
        "signature": "sig",
    }


def test_redacted_thinking_is_sealed_too() -> None:
    block = start({"type": "redacted_thinking", "data": "secret"})
    events = respond([START, block, stop(), end()], show_encrypted=True, show_summary=True)

    item = told(events)[1]["item"]
    assert item["summary"] == []
    assert unpack(item["encrypted_content"].removeprefix("sealed:").encode()) == {
        "type": "redacted_thinking",
        "data": "secret",
    }


def test_thinking_that_was_cut_before_it_was_signed_cannot_be_sent_back() -> None:
    events = respond([START, *thinking("Hm", "sig")[:2], end("max_tokens")], show_encrypted=True, show_summary=True)

    item = body(events)["output"][0]
    assert item["encrypted_content"] is None
    assert item["summary"] == [{"type": "summary_text", "text": "Hm"}]


def test_a_store_keeps_the_thinking_that_the_app_did_not_ask_for() -> None:
    stream = machine()
    for event in [START, *thinking("Hm", "sig"), *text("Hi", index=1), end()]:
        stream.feed(event)

    kept: list[Any] = [msgspec.to_builtins(item) for item in stream.stored]
    assert kept[0]["encrypted_content"].startswith("sealed:")
    assert kept[1]["content"] == [part("Hi")]


@pytest.mark.parametrize("reason", [*FINISH_REASON, "a_word_yet_unknown"])
def test_every_stop_reason_ends_the_response(reason: str) -> None:
    events = respond([START, *text("Hi"), end(reason)])

    why = INCOMPLETE.get(FINISH_REASON.get(reason, "stop"))
    status = "incomplete" if why else "completed"
    response = body(events)
    assert type_of(events[-1]) == f"response.{status}"
    assert response["status"] == response["output"][0]["status"] == status
    assert response["incomplete_details"] == ({"reason": why} if why else None)
    assert response["completed_at"] == (None if why else 12)


def test_a_refusal_is_a_part_of_the_message_and_the_response_is_incomplete() -> None:
    events = respond([START, *text("Well"), end("refusal", stop_details={"type": "refusal", "explanation": "No."})])

    at = {**AT, "content_index": 1}
    refusal = {"type": "refusal", "refusal": "No."}
    assert [event for event in told(events) if event.get("content_index") == 1] == [
        {"type": "response.content_part.added", **at, "part": {"type": "refusal", "refusal": ""}},
        {"type": "response.refusal.delta", **at, "delta": "No."},
        {"type": "response.refusal.done", **at, "refusal": "No."},
        {"type": "response.content_part.done", **at, "part": refusal},
    ]
    assert body(events)["output"][0]["content"] == [part("Well"), refusal]
    assert body(events)["incomplete_details"] == {"reason": "content_filter"}


def test_a_refusal_without_a_text_begins_its_message() -> None:
    events = respond([START, end("refusal", stop_details={"explanation": "No."})])

    assert body(events)["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


@pytest.mark.parametrize("before", [[], thinking("Hm", "sig"), thinking("Hm", "sig")[:-1], text("")])
def test_a_completed_response_always_has_a_message(before: list[Event]) -> None:
    output = body(respond([START, *before, end()]))["output"]

    assert output[-1]["content"] == [part("")]


def test_an_answer_cut_while_claude_thinks_has_no_message() -> None:
    output = body(respond([START, *thinking("Hm", "sig"), end("max_tokens")]))["output"]

    assert [item["type"] for item in output] == ["reasoning"]


def test_a_code_fence_is_taken_off_where_json_was_asked_for() -> None:
    events = respond([START, *text("```json\n", '{"a": 1}', "\n``", "`"), end()], unfence=True)

    assert body(events)["output"][0]["content"][0]["text"].strip() == '{"a": 1}'


def test_a_held_back_fence_is_sent_at_the_end() -> None:
    assert body(respond([START, *text("``"), end()], unfence=True))["output"][0]["content"] == [part("``")]


def test_usage_and_tier_are_told_at_the_end_alone() -> None:
    counted = {
        "type": "message_start",
        "message": {
            "model": "claude-x",
            "usage": {
                "input_tokens": 5,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 2,
                "service_tier": "priority",
            },
        },
    }
    events = respond([counted, *text("Hi"), end()])

    first = msgspec.to_builtins(events[0])["response"]
    assert first["usage"] is None
    assert "tool_usage" not in first
    assert first["service_tier"] == "auto"
    assert body(events)["tool_usage"]["web_search"] == {"num_requests": 0}
    assert body(events)["service_tier"] == "priority"
    assert body(events)["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 17,
    }


def test_a_response_repeats_its_request() -> None:
    echo = Echo(model="gpt-5", instructions="Be brief.", metadata={"a": "b"}, store=False)
    response = body(respond([START, *text("Hi"), end()], echo=echo))

    assert (response["instructions"], response["metadata"], response["store"]) == ("Be brief.", {"a": "b"}, False)
    assert (response["id"], response["created_at"], response["object"]) == ("resp_1", 10, "response")
    assert response["user"] is None


def test_the_end_of_the_events_is_an_error_before_the_end_of_the_response() -> None:
    stream = machine()
    for event in [START, *text("Hi")]:
        stream.feed(event)

    assert not stream.complete
    with pytest.raises(ClaudeProtocolError, match="ended while OPEN"):
        stream.feed_eof()


def test_a_failure_tells_why_and_keeps_what_was_done() -> None:
    stream = machine()
    events = [event for raw in [START, *call("t", "f", "{}"), *text("Hal", index=1)] for event in stream.feed(raw)]
    events += stream.failed(openai_error("overloaded_error"))

    error, failed = (msgspec.to_builtins(event) for event in events[-2:])
    assert (error["type"], error["code"]) == ("error", "overloaded")
    assert error["error"]["message"] == error["message"] == failed["response"]["error"]["message"]
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert [item["type"] for item in failed["response"]["output"]] == ["function_call"]
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_failure_before_the_beginning_begins_the_response() -> None:
    events = machine().failed(openai_error("api_error"))

    assert [type_of(event) for event in events] == [
        "response.created",
        "response.in_progress",
        "error",
        "response.failed",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        *[(OpenAIError("", status=500, code=theirs), ours) for theirs, ours in ERROR_CODES.items()],
        (OpenAIError("", status=400), "invalid_prompt"),
        (OpenAIError("", status=503, code="overloaded"), "server_error"),
    ],
)
def test_a_failures_code_is_of_openais_list(error: OpenAIError, code: str) -> None:
    assert body(machine().failed(error))["error"]["code"] == code


def test_a_failed_response_stays_failed() -> None:
    stream = machine()
    stream.failed(openai_error("api_error"))

    assert not stream.complete
    assert stream.feed(START) == []
    with pytest.raises(ClaudeProtocolError):
        stream.feed_eof()
    with pytest.raises(ValueError, match="ended"):
        stream.failed(openai_error("api_error"))


def test_a_complete_response_cannot_fail_and_takes_nothing_more() -> None:
    stream = machine()
    for event in [START, *text("Hi"), end()]:
        stream.feed(event)

    assert stream.feed({"type": "message_stop"}) == []
    with pytest.raises(ValueError, match="ended"):
        stream.failed(openai_error("api_error"))


def test_an_end_without_a_reason_is_an_error_that_can_be_told() -> None:
    stream = machine()
    for event in [START, *text("Hi")]:
        stream.feed(event)

    with pytest.raises(ClaudeProtocolError, match="stop_reason"):
        stream.feed(end(None))

    assert not stream.complete
    assert type_of(stream.failed(openai_error("stream_error"))[-1]) == "response.failed"


def test_unknown_events_are_counted_and_pings_pass() -> None:
    stream = machine()

    assert stream.feed({"type": "new_thing"}) == stream.feed({"type": "ping"}) == []
    assert stream.unknown_events == 1


def test_the_stream_knows_the_model_and_the_stop_reason() -> None:
    stream = machine()
    for event in [START, *text("Hi"), end("max_tokens")]:
        stream.feed(event)

    assert (stream.claude_model, stream.stop_reason, stream.complete) == ("claude-x", "max_tokens", True)


def test_an_event_that_lacks_what_it_must_have_is_an_error() -> None:
    with pytest.raises(ClaudeProtocolError, match="message_start"):
        machine().feed({"type": "message_start"})


EXAMPLES: dict[str, Event] = {
    "message_start": START,
    "content_block_start": start({"type": "text", "text": ""}),
    "content_block_delta": delta({"type": "text_delta", "text": "x"}),
    "content_block_stop": stop(),
    "message_delta": end(),
    "message_stop": {"type": "message_stop"},
    "ping": {"type": "ping"},
}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("state", [State.IDLE, State.OPEN, State.IN_BLOCK])
def test_only_what_the_table_allows_can_come(state: State, kind: str) -> None:
    stream = machine()
    for event in [START, start({"type": "text", "text": ""})][: {"IDLE": 0, "OPEN": 1, "IN_BLOCK": 2}[state.name]]:
        stream.feed(event)

    if (state, EVENTS[kind]) in TRANSITIONS:
        stream.feed(EXAMPLES[kind])
        assert stream.state is TRANSITIONS[state, EVENTS[kind]]
    else:
        with pytest.raises(ClaudeProtocolError):
            stream.feed(EXAMPLES[kind])


def phases(events: list[ResponseEvent]) -> list[Any]:
    output = body(events)["output"]
    done = [each["item"] for each in told(events) if each["type"] == "response.output_item.done"]
    assert [item.get("phase") for item in done] == [item.get("phase") for item in output]
    return [item.get("phase") for item in output if item["type"] == "message"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*text("Hi"), end()], ["final_answer"]),
        ([*text("I look."), *call("t1", "f", "{}", index=1), end("tool_use")], ["commentary"]),
        ([*call("t1", "f", "{}"), *text("So.", index=1), end("tool_use")], ["commentary"]),
        ([*text("Hi"), end("max_tokens")], [None]),
        ([*text("I look."), *thinking("Hm.", "sig", 1), *text("So.", index=2), end()], ["commentary", "final_answer"]),
    ],
)
def test_a_message_is_a_commentary_if_more_follows(events: list[Event], expected: list[Any]) -> None:
    answered = respond([START, *events])

    assert phases(answered) == expected
    added = [each["item"] for each in told(answered) if each["type"] == "response.output_item.added"]
    assert {item.get("phase") for item in added if item["type"] == "message"} == {None}
