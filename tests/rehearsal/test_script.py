"""What a request and a reply give: the events, the limits, the faults."""

import json
from typing import Any

import jsonschema
import pytest

from rehearsal.events import SIGNATURE, encode, fold, parse_sse
from rehearsal.reply import Fault, FaultKind, Reply, ToolCall
from rehearsal.script import Score, compose, default_text, last_user_text
from rehearsal.tokens import PromptCache, count
from translate.chat.response_format import JSON_OBJECT_INSTRUCTION, JSON_SCHEMA_INSTRUCTION, translate_response_format
from translate.tools import translate_tools

WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {"name": "get_time", "input_schema": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}}}


def request(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "claude-x", "max_tokens": 1000, "stream": True, "messages": messages} | fields


def played(body: dict[str, Any], reply: Reply | None = None) -> Score:
    return compose(body, reply or Reply(), PromptCache().usage(body), 7)


def events(score: Score) -> list[dict[str, Any]]:
    return [event for _, event in parse_sse(b"".join(step.data for step in score.steps).decode())]


def answer(body: dict[str, Any], reply: Reply | None = None) -> dict[str, Any]:
    return fold(events(played(body, reply)))


def text_of(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_the_events_of_a_plain_answer_come_in_the_recorded_order() -> None:
    got = events(played(request(), Reply(text="abcdef")))

    assert [event["type"] for event in got] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_first_and_last_events_have_the_recorded_fields() -> None:
    got = events(played(request(), Reply(text="abcdef")))
    usage = {
        "input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }

    assert got[0]["message"] == {
        "model": "claude-x",
        "id": "msg_01Rehearsal0000000000007",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }
    assert got[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
        "usage": {
            "input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
    }


def test_the_default_answer_says_that_it_is_a_rehearsal_and_what_it_was_sent() -> None:
    body = request()
    body["messages"] += [
        {"role": "assistant", "content": "Hi"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>not said</system-reminder>"},
                {"type": "text", "text": "Look [rehearse: delay=0]"},
                {"type": "image", "source": {}},
                {"type": "image", "source": {}},
            ],
        },
    ]

    assert text_of(answer(body)) == (
        "This is a rehearsal: no model was asked. You said: “Look”. You sent 2 images. "
        "This is turn 2 of the conversation."
    )


def test_a_long_prompt_is_quoted_in_part() -> None:
    assert len(default_text(request("x" * 10_000))) < 600


def test_tool_results_are_quoted() -> None:
    body = request(tools=[WEATHER])
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "21 °C"}]}
    body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    assert "The tools gave: “21 °C”." in text_of(answer(body))
    assert answer(body)["stop_reason"] == "end_turn"
    assert "turn 1" in text_of(answer(body))


def test_the_last_user_text_leaves_out_rows_of_role_system() -> None:
    body = request("[rehearse: tool]")
    body["messages"].append({"role": "system", "content": []})

    assert last_user_text(body) == "[rehearse: tool]"


def test_an_answer_that_ends_with_an_assistant_prefill_has_no_user_text() -> None:
    body = request()
    body["messages"].append({"role": "assistant", "content": "{"})

    assert last_user_text(body) == ""


def test_deltas_are_the_output_tokens() -> None:
    score = played(request(), Reply(thinking="abcde", text="abcdefghi", tool_calls=(ToolCall("f", {"x": 1}),)))
    expected = count("abcde") + count("abcdefghi") + count('{"x": 1}')

    assert sum(step.is_delta for step in score.steps) == expected
    assert fold(events(score))["usage"]["output_tokens"] == expected


# Limits.


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_tokens_ends_the_answer_after_that_many_deltas(limit: int) -> None:
    message = answer(request(max_tokens=limit), Reply(text="aaaabbbbccccdddd"))

    assert text_of(message) == "aaaabbbbcccc"[: 4 * limit]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", limit)


def test_an_answer_of_exactly_max_tokens_has_ended_its_turn() -> None:
    assert answer(request(max_tokens=2), Reply(text="aaaabbbb"))["stop_reason"] == "end_turn"


def test_max_tokens_counts_thinking_and_can_cut_a_tool_call_short() -> None:
    reply = Reply(thinking="aaaabbbb", tool_calls=(ToolCall("f", {"x": 1}), ToolCall("g")))
    score = played(request(max_tokens=3, tools=[WEATHER]), reply)
    deltas = [event["delta"] for event in events(score) if event["type"] == "content_block_delta"]

    assert [delta.get("partial_json") for delta in deltas if "partial_json" in delta] == ["", '{"x"']
    assert fold(events(score))["stop_reason"] == "max_tokens"
    assert fold(events(score))["content"][1]["input"] == {}


def test_max_tokens_at_the_edge_of_a_block_leaves_out_the_next() -> None:
    message = answer(request(max_tokens=1), Reply(thinking="aaaa", text="bbbb"))

    assert [block["type"] for block in message["content"]] == ["thinking"]
    assert message["stop_reason"] == "max_tokens"


def test_the_earliest_stop_sequence_cuts_the_text_and_is_named() -> None:
    message = answer(
        request(stop_sequences=["four", "two"]), Reply(text="one two three four", tool_calls=(ToolCall("f"),))
    )

    assert text_of(message) == "one "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "two")
    assert len(message["content"]) == 1


def test_a_stop_sequence_beyond_max_tokens_is_not_reached() -> None:
    message = answer(request(stop_sequences=["END"], max_tokens=1), Reply(text="12345678END"))

    assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)


def test_a_stop_sequence_at_the_start_leaves_no_block() -> None:
    assert answer(request(stop_sequences=["a"]), Reply(text="abc"))["content"] == []


# Stop reasons.


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "model_context_window_exceeded", "brand_new"],
)
def test_any_stop_reason_can_be_given(reason: str) -> None:
    message = answer(request(), Reply(stop_reason=reason))

    assert message["stop_reason"] == reason
    assert text_of(message).startswith("This is a rehearsal")


def test_a_refusal_has_details_and_no_content_of_its_own() -> None:
    message = answer(request(), Reply(stop_reason="refusal"))

    assert message["content"] == []
    assert message["stop_details"]["type"] == "refusal"
    assert text_of(answer(request(), Reply(stop_reason="refusal", text="I was ab"))) == "I was ab"


def test_a_given_stop_sequence_is_named() -> None:
    assert answer(request(), Reply(stop_reason="stop_sequence", stop_sequence="X"))["stop_sequence"] == "X"
    assert answer(request(stop_sequences=["Y"]), Reply(stop_reason="stop_sequence"))["stop_sequence"] == "Y"


def test_thinking_comes_first_and_is_signed() -> None:
    message = answer(request(), Reply(thinking="Hm, well.", text="Yes."))

    assert message["content"][0] == {"type": "thinking", "thinking": "Hm, well.", "signature": SIGNATURE}
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 3}


def test_context_management_is_answered_when_it_was_asked_for() -> None:
    assert answer(request(context_management={"edits": []}))["context_management"] == {"applied_edits": []}
    assert "context_management" not in answer(request())


def test_usage_can_be_given() -> None:
    assert answer(request(), Reply(usage={"input_tokens": 190_000}))["usage"]["input_tokens"] == 190_000


@pytest.mark.parametrize("ttl", ["5m", "1h"])
@pytest.mark.parametrize("written", [0, 1000])
def test_a_replaced_cache_count_also_changes_the_split_by_duration(ttl: str, written: int) -> None:
    system = [{"type": "text", "text": "a" * 400, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    usage = answer(request(system=system), Reply(usage={"cache_creation_input_tokens": written}))["usage"]

    other = "1h" if ttl == "5m" else "5m"
    assert usage["cache_creation"] == {
        f"ephemeral_{ttl}_input_tokens": written,
        f"ephemeral_{other}_input_tokens": 0,
    }


def test_the_sum_follows_from_what_is_written_for_each_duration() -> None:
    split = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 12}

    assert answer(request(), Reply(usage={"cache_creation": split}))["usage"]["cache_creation_input_tokens"] == 42


# Tools and output formats.


def calls_of(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
        (None, []),
    ],
)
def test_tool_choice_decides_which_tool_is_called(choice: Any, names: list[str]) -> None:
    message = answer(request(tools=[WEATHER, TIME], tool_choice=choice))

    assert [name for name, _ in calls_of(message)] == names
    assert message["stop_reason"] == ("tool_use" if names else "end_turn")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["get_weather"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
        ("auto", []),
    ],
)
def test_a_model_that_cannot_be_forced_calls_the_tool_that_its_instructions_name(choice: Any, names: list[str]) -> None:
    offered = [
        {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
        for tool in (WEATHER, TIME)
    ]
    turn = translate_tools({"tools": offered, "tool_choice": choice}, can_force=False)
    body = request(tools=list(turn.tools), system=[{"type": "text", "text": f"Be kind.\n\n{turn.instruction}"}])

    assert [name for name, _ in calls_of(answer(body))] == names
    assert calls_of(answer(body, Reply(text="I would rather not."))) == []


def test_an_agent_that_must_call_a_tool_comes_to_each_of_them() -> None:
    body = request(tools=[WEATHER, TIME], tool_choice={"type": "any"})
    names = []
    for _ in range(3):
        message = answer(body)
        names += [name for name, _ in calls_of(message)]
        body["messages"].append({"role": "assistant", "content": message["content"]})

    assert names == ["get_weather", "get_time", "get_weather"]


def test_an_instruction_to_search_the_web_makes_no_call_of_the_apps_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    body = request(tools=[search], system="Answer by calling the tool web_search. Do not answer in text.")

    assert calls_of(answer(body)) == []


def test_an_instruction_to_answer_in_json_gets_a_json_object_that_says_it_is_a_rehearsal() -> None:
    body = request(system=f"Be kind.\n\n{JSON_OBJECT_INSTRUCTION}")

    assert json.loads(text_of(answer(body))) == {"rehearsal": default_text(body)}
    assert text_of(answer(body, Reply(text="no JSON"))) == "no JSON"


def test_an_instruction_to_answer_by_a_schema_gets_json_that_is_valid_by_it() -> None:
    node = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#"}}, "required": ["name"]}
    told = translate_response_format({"type": "json_schema", "json_schema": {"name": "chain", "schema": node}}, [])
    body = request(system=[{"type": "text", "text": f"Be kind.\n\n{told.instruction}\n\nBe short."}])

    assert told.format is None
    jsonschema.validate(json.loads(text_of(answer(body))), node)


def test_a_schema_that_an_instruction_has_lost_half_of_is_no_schema() -> None:
    body = request(system=f'{JSON_SCHEMA_INSTRUCTION}{{"type": "object", "a": }}')

    assert text_of(answer(body)) == default_text(body)


def test_a_tool_is_called_with_valid_arguments_in_pieces() -> None:
    score = played(request(tools=[WEATHER]), Reply(tool_calls=(ToolCall(),)))
    message = fold(events(score))
    block = message["content"][0]
    pieces = [event["delta"]["partial_json"] for event in events(score) if event["type"] == "content_block_delta"]

    jsonschema.validate(block["input"], WEATHER["input_schema"])  # type: ignore[arg-type]
    assert json.loads("".join(pieces)) == block["input"] == {"city": "rehearsed city"}
    assert pieces[0] == "" and len(pieces) > 3
    assert block["id"].startswith("toolu_01")


def test_parallel_calls_have_their_own_ids_unless_they_are_disabled() -> None:
    twice = Reply(tool_calls=(ToolCall(), ToolCall("get_time")))
    message = answer(request(tools=[WEATHER, TIME]), twice)
    one = answer(request(tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True}), twice)

    assert len({block["id"] for block in message["content"]}) == 2
    assert len(calls_of(one)) == 1


def test_server_tools_and_no_tools_are_not_called() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}

    assert calls_of(answer(request(tools=[search]), Reply(tool_calls=(ToolCall(),)))) == []


def test_arguments_can_be_given_even_broken_and_for_a_tool_that_is_not_there() -> None:
    score = played(request(), Reply(tool_calls=(ToolCall("nobody", input_json='{"a":'), ToolCall("else", {"b": 2}))))
    pieces = [event["delta"]["partial_json"] for event in events(score) if event["type"] == "content_block_delta"]

    assert "".join(pieces) == '{"a":{"b": 2}'


def test_a_json_schema_format_is_answered_with_valid_json() -> None:
    form = {"type": "json_schema", "schema": WEATHER["input_schema"]}

    for body in (request(output_config={"format": form}), request(output_format=form)):
        assert json.loads(text_of(answer(body))) == {"city": "rehearsed city"}


# Faults.


def types(score: Score) -> list[Any]:
    return [event.get("type") for event in events(score)]


@pytest.mark.parametrize(("after", "deltas"), [(0, 0), (1, 1), (2, 2), (99, 3)])
def test_a_cut_comes_after_so_many_deltas(after: int, deltas: int) -> None:
    score = played(request(), Reply(text="aaaabbbbcccc", fault=Fault(FaultKind.CUT, after)))

    assert score.is_cut
    assert types(score) == ["message_start", "content_block_start", "ping"] + ["content_block_delta"] * deltas


def test_a_fault_without_a_place_comes_before_the_first_event() -> None:
    assert played(request(), Reply(fault=Fault(FaultKind.CUT))).steps == ()
    assert types(played(request(), Reply(fault=Fault(FaultKind.SSE_ERROR)))) == ["error"]


def test_a_stream_can_end_before_message_stop() -> None:
    score = played(request(), Reply(text="aaaabbbb", fault=Fault(FaultKind.END, 1)))

    assert not score.is_cut
    assert types(score)[-1] == "content_block_delta"


def test_an_error_event_ends_the_stream() -> None:
    score = played(request(), Reply(text="aaaabbbb", fault=Fault(FaultKind.SSE_ERROR, 1, "api_error", "Oops")))

    assert events(score)[-1] == {"type": "error", "error": {"type": "api_error", "message": "Oops"}}


def test_a_malformed_event_stands_between_good_ones() -> None:
    score = played(request(), Reply(text="aaaabbbb", fault=Fault(FaultKind.MALFORMED, 1)))

    assert events(score).count({}) == 1
    assert types(score)[-1] == "message_stop"


def test_a_fault_in_an_answer_without_content_keeps_its_start() -> None:
    reply = Reply(stop_reason="refusal", fault=Fault(FaultKind.END, 3))

    assert types(played(request(), reply)) == ["message_start"]


@pytest.mark.parametrize("kind", [FaultKind.END, FaultKind.MALFORMED])
def test_without_a_stream_a_broken_answer_is_no_json(kind: FaultKind) -> None:
    score = played(request(stream=False), Reply(fault=Fault(kind, 1)))

    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(score.body or b"")


def test_without_a_stream_an_error_event_is_an_error_status() -> None:
    score = played(request(stream=False), Reply(fault=Fault(FaultKind.SSE_ERROR, 1)))

    assert score.status == 529
    assert json.loads(score.body or b"")["error"]["type"] == "overloaded_error"


# Bodies and recordings.


def test_without_a_stream_the_body_is_the_folded_stream() -> None:
    reply = Reply(thinking="Hm.", text="Yes.", tool_calls=(ToolCall(),))
    whole = played(request(stream=False, tools=[WEATHER]), reply)

    assert json.loads(whole.body or b"") == answer(request(tools=[WEATHER]), reply)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
        (599, "api_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status: int, kind: str) -> None:
    score = played(request(), Reply.error(status))
    body = json.loads(score.body or b"")

    assert score.status == status
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["error"]["message"]
    assert body["request_id"] == "req_01Rehearsal0000000000007"


RECORDED = (
    "event: message_start\ndata: "
    + json.dumps({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {"input_tokens": 1}}})
    + "   \n\n"
    + "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}    \n\n"
        for event in (
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Recorded"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"n": 1}}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        )
    )
)


def test_a_recorded_stream_is_played_byte_by_byte() -> None:
    score = played(request(), Reply.recorded(RECORDED))

    assert b"".join(step.data for step in score.steps).decode() == RECORDED
    assert [step.is_delta for step in score.steps].index(True) == 2


def test_a_recorded_stream_is_folded_where_no_stream_is_asked_for() -> None:
    body = json.loads(played(request(stream=False), Reply.recorded(RECORDED)).body or b"")

    assert body["content"] == [{"type": "text", "text": "Recorded", "citations": [{"n": 1}]}]
    assert body["usage"] == {"input_tokens": 1, "output_tokens": 1}


def test_a_recorded_error_event_is_an_error_where_no_stream_is_asked_for() -> None:
    sse = encode({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).decode()

    assert played(request(stream=False), Reply.recorded(sse)).status == 529


def test_a_json_body_is_sent_as_it_is() -> None:
    score = played(request(), Reply.json({"any": "thing"}, status=418))

    assert (score.status, json.loads(score.body or b"")) == (418, {"any": "thing"})
