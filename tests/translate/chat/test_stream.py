"""Claude's events become chunks, in order, however they are cut."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from translate.chat.completion import fold
from translate.chat.fingerprint import fingerprint
from translate.chat.finish_reason import FINISH_REASON
from translate.chat.stream import ChatCompletionStream
from translate.chat.wire import ChatCompletionChunk
from translate.claude_stream import TRANSITIONS, ClaudeProtocolError, State
from translate.claude_wire import EVENTS

type Event = dict[str, Any]

START: Event = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 5}}}


def start(block: dict[str, Any], index: int = 0) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(fields: dict[str, Any], index: int = 0) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def stop(index: int = 0) -> Event:
    return {"type": "content_block_stop", "index": index}


def end(reason: str | None = "end_turn", **more: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {"output_tokens": 7}}


def text(*pieces: str, index: int = 0) -> list[Event]:
    deltas = [delta({"type": "text_delta", "text": piece}, index) for piece in pieces]
    return [start({"type": "text", "text": ""}, index), *deltas, stop(index)]


def call(id: str, name: str, *pieces: str, index: int = 0) -> list[Event]:
    deltas = [delta({"type": "input_json_delta", "partial_json": piece}, index) for piece in pieces]
    return [start({"type": "tool_use", "id": id, "name": name, "input": {}}, index), *deltas, stop(index)]


def thinking(words: str, signature: str, index: int = 0) -> list[Event]:
    return [
        start({"type": "thinking", "thinking": ""}, index),
        delta({"type": "thinking_delta", "thinking": words}, index),
        delta({"type": "signature_delta", "signature": signature}, index),
        stop(index),
    ]


def machine(**options: Any) -> ChatCompletionStream:
    return ChatCompletionStream(**{"id": "chatcmpl-1", "created": 1, "model": "gpt-4o", **options})


def chunks(events: list[Event], **options: Any) -> list[ChatCompletionChunk]:
    stream = machine(**options)
    result = [chunk for event in events for chunk in stream.feed(event)]
    stream.feed_eof()
    return result


def deltas(events: list[Event], **options: Any) -> list[Any]:
    """Return each chunk's delta, or its finish_reason, as JSON."""
    found = []
    for chunk in chunks(events, **options):
        for choice in chunk.choices:
            encoded = msgspec.to_builtins(choice)
            found.append(encoded["finish_reason"] or encoded["delta"])
    return found


ROLE = {"role": "assistant", "content": "", "refusal": None}
NO_TEXT = {"role": "assistant", "content": None, "refusal": None}


def test_the_role_comes_first_then_the_text_then_the_reason() -> None:
    assert deltas([START, *text("Hel", "lo"), end()]) == [ROLE, {"content": "Hel"}, {"content": "lo"}, "stop"]


def test_the_role_waits_for_the_first_piece() -> None:
    stream = machine()

    assert stream.feed(START) == []
    assert stream.feed(start({"type": "text", "text": ""})) == []
    role, piece = stream.feed(delta({"type": "text_delta", "text": "Hel"}))
    assert msgspec.to_builtins(role.choices[0].delta) == ROLE
    assert msgspec.to_builtins(piece.choices[0].delta) == {"content": "Hel"}


@pytest.mark.parametrize(
    ("events", "first"),
    [
        pytest.param(text("a"), ROLE, id="text"),
        pytest.param([], ROLE, id="nothing"),
        pytest.param(text(""), ROLE, id="empty text"),
        pytest.param([*text("a"), *call("t1", "a", "{}", index=1)], ROLE, id="text, then a call"),
        pytest.param(thinking("Hm.", "sig"), ROLE, id="thinking that is not shown"),
    ],
)
def test_the_role_comes_with_an_empty_text_unless_the_answer_begins_otherwise(
    events: list[Event], first: dict[str, Any]
) -> None:
    assert deltas([START, *events, end()])[0] == first


@pytest.mark.parametrize(
    "events", [call("t1", "a", "{}"), [*text(""), *call("t1", "a", "{}", index=1)], call("t1", "now")]
)
def test_an_answer_of_calls_alone_never_has_a_text(events: list[Event]) -> None:
    state = ChatCompletionStreamState()
    told = chunks([START, *events, end("tool_use")])
    for chunk in told:
        state.handle_chunk(OpenAIChunk.model_validate(msgspec.to_builtins(chunk)))

    contents = [choice.delta.content for chunk in told for choice in chunk.choices]
    assert [content for content in contents if content is not msgspec.UNSET] == [None]
    assert state.get_final_completion().choices[0].message.content is None


def test_a_refusal_without_text_has_no_text() -> None:
    refused = end("refusal", stop_details={"type": "refusal", "explanation": "Not that."})

    assert deltas([START, refused]) == [NO_TEXT, {"refusal": "Not that."}, "content_filter"]


def test_every_chunk_carries_the_same_id_time_model_tier_and_fingerprint() -> None:
    begun = {**START, "message": {"model": "claude-x", "usage": {"service_tier": "priority"}}}
    seen = {
        (chunk.id, chunk.created, chunk.model, chunk.service_tier, chunk.system_fingerprint)
        for chunk in chunks([begun, *text("a"), end()], version="1.0", include_usage=True)
    }

    assert seen == {("chatcmpl-1", 1, "gpt-4o", "priority", fingerprint("claude-x", "1.0"))}


def test_the_body_has_the_tier_and_the_fingerprint_of_its_chunks() -> None:
    body = fold(chunks([START, *text("a"), end()], version="1.0", include_usage=True))

    assert (body.service_tier, body.system_fingerprint) == ("default", fingerprint("claude-x", "1.0"))


def test_the_first_event_names_the_model() -> None:
    stream = machine()
    stream.feed(START)

    assert stream.claude_model == "claude-x"


def test_usage_is_absent_unless_asked_for() -> None:
    assert all(chunk.usage is msgspec.UNSET for chunk in chunks([START, *text("a"), end()]))


def test_usage_comes_last_with_no_choice_and_is_null_before() -> None:
    *before, last = chunks([START, *text("a"), end()], include_usage=True)

    assert all(chunk.usage is None for chunk in before)
    assert last.choices == []
    assert msgspec.to_builtins(last.usage)["total_tokens"] == 12


def test_parallel_calls_are_told_apart_by_index_and_named_once() -> None:
    events = [START, *call("t1", "a", '{"x"', ":1}"), *call("t2", "b", "{}", index=1), end("tool_use")]

    first = {"index": 0, "id": "t1", "type": "function", "function": {"name": "a", "arguments": ""}}
    assert deltas(events) == [
        {**NO_TEXT, "tool_calls": [first]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "b", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        "tool_calls",
    ]


@pytest.mark.parametrize("pieces", [(), ("",)])
def test_a_call_without_arguments_has_an_empty_object(pieces: tuple[str, ...]) -> None:
    completion = fold(chunks([START, *call("t1", "now", *pieces), end("tool_use")], include_usage=True))

    message = msgspec.to_builtins(completion.choices[0].message)
    assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
    assert message["content"] is None


def test_the_older_form_of_a_call_has_no_id_and_its_own_reason() -> None:
    events = [START, *call("t1", "a", "{}"), end("tool_use")]

    assert deltas(events, legacy_functions=True) == [
        {**NO_TEXT, "function_call": {"name": "a", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        "function_call",
    ]


def test_thinking_is_not_shown_unless_asked_for() -> None:
    assert deltas([START, *thinking("Hm.", "sig"), *text("a", index=1), end()]) == [ROLE, {"content": "a"}, "stop"]


def test_thinking_that_is_asked_for_comes_with_its_signature() -> None:
    assert deltas([START, *thinking("Hm.", "sig"), end()], show_reasoning=True) == [
        NO_TEXT,
        {"reasoning_content": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Hm.", "signature": "sig"}]},
        "stop",
    ]


def test_redacted_thinking_is_handed_on_whole() -> None:
    events = [START, start({"type": "redacted_thinking", "data": "xyz"}), stop(), end()]

    detail = {"type": "reasoning.encrypted", "index": 0, "data": "xyz"}
    assert deltas(events, show_reasoning=True)[1] == {"reasoning_details": [detail]}


def test_blocks_that_are_not_the_apps_are_invisible() -> None:
    server_tool = [
        start({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        delta({"type": "input_json_delta", "partial_json": '{"query"'}),
        stop(),
        start({"type": "invented_in_2031", "anything": [1]}, 1),
        delta({"type": "invented_delta"}, 1),
        stop(1),
    ]

    assert deltas([START, *server_tool, *text("a", index=2), end()]) == [ROLE, {"content": "a"}, "stop"]


def test_an_answer_is_cut_at_a_stop_sequence_that_claude_does_not_take() -> None:
    events = [START, *text("one", "\n", "two"), *call("t", "f", "{}", index=1), end("tool_use")]

    assert deltas(events, cuts=["\n"]) == [ROLE, {"content": "one"}, "stop"]
    assert deltas([START, *text("one\n"), end()], cuts=["\n\n"])[1:] == [{"content": "one"}, {"content": "\n"}, "stop"]


def test_a_citation_has_the_character_range_of_its_text() -> None:
    page = {"type": "web_search_result_location", "url": "https://example.com/a", "title": "A", "cited_text": "x"}
    cited = text("so it is", index=1)
    cited.insert(1, delta({"type": "citations_delta", "citation": page}, 1))
    events = [START, *text("I think "), *cited, *text(".", index=2), end()]

    annotation = {
        "type": "url_citation",
        "url_citation": {"url": "https://example.com/a", "title": "A", "start_index": 8, "end_index": 16},
    }
    assert {"annotations": [annotation]} in deltas(events)
    message = fold(chunks(events, include_usage=True)).choices[0].message
    assert (message.content, message.annotations) == ("I think so it is.", [annotation])


def test_all_citations_of_an_answer_come_in_one_chunk() -> None:
    pages = [{"type": "web_search_result_location", "url": f"https://example.com/{name}"} for name in "ab"]
    blocks = [text(words, index=index) for index, words in enumerate(("One.", "Two."))]
    for index, block in enumerate(blocks):
        block.insert(1, delta({"type": "citations_delta", "citation": pages[index]}, index))
    streamed = chunks([START, *blocks[0], *blocks[1], end()])

    snapshot = ChatCompletionStreamState()
    for chunk in streamed:
        snapshot.handle_chunk(OpenAIChunk.model_validate_json(msgspec.json.encode(chunk)))

    (message,) = (choice.message for choice in snapshot.get_final_completion().choices)
    places = [(note.url_citation.start_index, note.url_citation.end_index) for note in message.annotations or ()]
    assert places == [(0, 4), (4, 8)]


def test_a_refusal_that_is_explained_is_a_refusal_in_the_message() -> None:
    details = {"type": "refusal", "explanation": "Not that."}

    message = fold(chunks([START, end("refusal", stop_details=details)], include_usage=True)).choices[0]

    assert (message.finish_reason, message.message.refusal) == ("content_filter", "Not that.")


def test_a_code_fence_around_a_json_object_is_taken_off() -> None:
    events = [START, *text("```js", 'on\n{"a":', " 1}\n", "```"), end()]

    assert fold(chunks(events, include_usage=True, unfence=True)).choices[0].message.content == '{"a": 1}'


def test_a_beginning_of_a_fence_at_the_end_is_sent() -> None:
    events = [START, *text('{"a": 1}\n', "``"), end()]

    assert fold(chunks(events, include_usage=True, unfence=True)).choices[0].message.content == '{"a": 1}\n``'


def test_a_refusal_without_an_explanation_has_none() -> None:
    message = fold(chunks([START, end("refusal")], include_usage=True)).choices[0]

    assert (message.finish_reason, message.message.refusal) == ("content_filter", None)


@pytest.mark.parametrize("reason", FINISH_REASON)
def test_every_stop_reason_ends_the_stream_with_its_word(reason: str) -> None:
    assert deltas([START, *text("a"), end(reason)])[-1] == FINISH_REASON[reason]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [START, *text("a"), end(), {"type": "ping"}], ids=lambda event: str(event["type"]))
def test_only_transitions_in_the_table_are_allowed(state: State, event: Event) -> None:
    stream = machine()
    stream.state = state
    legal = (state, EVENTS[event["type"]]) in TRANSITIONS or state is State.FINISHED

    if legal:
        assert isinstance(stream.feed(event), list)
    else:
        with pytest.raises(ClaudeProtocolError, match=state.name):
            stream.feed(event)


def test_events_of_unknown_types_are_skipped_and_counted() -> None:
    stream = machine()
    stream.feed(START)

    assert stream.feed({"type": "invented", "x": 1}) == []
    assert stream.unknown_events == 1


def test_pings_change_nothing() -> None:
    ping = {"type": "ping"}

    assert deltas([ping, START, ping, *text("a"), ping, end()]) == [ROLE, {"content": "a"}, "stop"]


def test_nothing_follows_the_stop_reason() -> None:
    stream = machine()
    for event in [START, *text("a"), end()]:
        stream.feed(event)

    assert stream.feed(START) == []
    assert stream.feed({"type": "message_stop"}) == []


def test_an_answer_cut_inside_a_call_is_complete_when_its_reason_is_told() -> None:
    events = [START, *call("t1", "a", '{"x')[:-1], end("max_tokens")]

    assert deltas(events)[-1] == "length"


@pytest.mark.parametrize(
    "events",
    [
        [stop()],
        [end()],
        text("a"),
        [START, START],
        [START, delta({"type": "text_delta", "text": "a"})],
        [START, start({"type": "text"}), start({"type": "text"})],
        [START, stop()],
        [START, {"type": "message_stop"}],
        [START, end(None)],
        [START, {"type": "content_block_start", "index": 0}],
        [{"type": "message_start"}],
    ],
)
def test_an_order_that_cannot_be_is_an_error(events: list[Event]) -> None:
    stream = machine()

    with pytest.raises(ClaudeProtocolError):
        [stream.feed(event) for event in events]


@pytest.mark.parametrize("cut", range(4))
def test_a_stream_that_ends_before_its_reason_is_an_error(cut: int) -> None:
    stream = machine()
    for event in [START, *text("a")][:cut]:
        stream.feed(event)

    with pytest.raises(ClaudeProtocolError):
        stream.feed_eof()


@given(st.text(min_size=1), st.data())
def test_splitting_a_text_anywhere_does_not_change_it(words: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(words)), max_size=5)))
    pieces = [words[a:b] for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]

    completion = fold(chunks([START, *text(*pieces), end()], include_usage=True))

    assert completion.choices[0].message.content == words


blocks = st.one_of(
    st.lists(st.text(), max_size=4).map(lambda pieces: text(*pieces)),
    st.tuples(st.text(max_size=3), st.lists(st.text(), max_size=3)).map(lambda c: call("t" + c[0], "f", *c[1])),
    st.tuples(st.text(), st.text()).map(lambda t: thinking(*t)),
)


@given(st.lists(blocks, max_size=5), st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", "new_one"]))
def test_whole_and_streamed_are_the_same_answer(parts: list[list[Event]], reason: str) -> None:
    events = [START, *[event for part in parts for event in part], end(reason)]

    streamed = chunks(events, include_usage=True, show_reasoning=True)
    whole = msgspec.to_builtins(fold(streamed).choices[0])

    joined: dict[str, str] = {"content": "", "reasoning_content": ""}
    calls: dict[int, dict[str, str]] = {}
    for chunk in streamed:
        for choice in msgspec.to_builtins(chunk)["choices"]:
            for name in joined:
                joined[name] += choice["delta"].get(name) or ""
            for piece in choice["delta"].get("tool_calls", []):
                grown = calls.setdefault(piece["index"], {"arguments": ""})
                grown["arguments"] += piece["function"].get("arguments", "")
    assert (whole["message"]["content"] or "") == joined["content"]
    assert whole["message"].get("reasoning_content", "") == joined["reasoning_content"]
    assert [c["function"]["arguments"] for c in whole["message"].get("tool_calls", [])] == [
        grown["arguments"] for _, grown in sorted(calls.items())
    ]
    assert whole["finish_reason"] == msgspec.to_builtins(streamed[-2])["choices"][0]["finish_reason"]
