"""Token counts, as OpenAI adds them up."""

from typing import Any

import msgspec
import pytest

from translate.usage import MessageUsage, UsageReader, add_counts, add_usage, merge_usage, service_tier, usage_from


def test_the_prompt_counts_what_was_read_from_and_written_to_the_cache() -> None:
    usage = usage_from(
        {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 100, "output_tokens": 7}
    )

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (123, 7, 130)
    assert msgspec.to_builtins(usage)["prompt_tokens_details"] == {
        "cached_tokens": 20,
        "audio_tokens": 0,
        "cache_write_tokens": 100,
    }


def test_thinking_is_counted_and_0_where_claude_does_not_report_it() -> None:
    reported = usage_from({"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}})

    others = {"audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    assert msgspec.to_builtins(reported)["completion_tokens_details"] == {"reasoning_tokens": 4, **others}
    details = [usage_from(usage).completion_tokens_details for usage in ({}, {"output_tokens_details": None})]
    assert [msgspec.to_builtins(each) for each in details] == [{"reasoning_tokens": 0, **others}] * 2


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({}, "default"),
        ({"service_tier": None}, "default"),
        ({"service_tier": "standard"}, "default"),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "batch"}, "flex"),
        ({"service_tier": "one that is new"}, "default"),
        ({"service_tier": ["standard"]}, "default"),
    ],
)
def test_the_tier_is_openais_word(usage: dict[str, Any], tier: str) -> None:
    assert service_tier(usage) == tier


def test_nothing_told_is_nothing_counted() -> None:
    assert usage_from({"input_tokens": None}).total_tokens == 0


def test_later_counts_win_and_null_tells_nothing() -> None:
    assert merge_usage({"input_tokens": 3, "output_tokens": 1}, {"input_tokens": None, "output_tokens": 9}) == {
        "input_tokens": 3,
        "output_tokens": 9,
    }


def test_several_answers_are_added_up() -> None:
    one = usage_from({"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}})
    other = usage_from({"input_tokens": 3, "output_tokens": 5})

    assert add_usage([one, other]).total_tokens == 13
    assert add_usage([one, other]).completion_tokens_details.reasoning_tokens == 1
    assert add_usage([one, one]).completion_tokens_details.reasoning_tokens == 2


def begun(model: str, **usage: object) -> dict[str, object]:
    return {"type": "message_start", "message": {"model": model, "usage": usage}}


def ended(**usage: object) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


def test_the_last_counts_of_a_message_replace_the_first() -> None:
    reader = UsageReader()
    reader.feed(begun("claude-x", input_tokens=9, cache_read_input_tokens=5, output_tokens=1))
    assert not reader.is_whole
    reader.feed(ended(input_tokens=9, cache_read_input_tokens=None, output_tokens=30))

    assert reader.messages == [
        MessageUsage("claude-x", {"input_tokens": 9, "cache_read_input_tokens": 5, "output_tokens": 30})
    ]
    assert reader.is_whole


def test_every_message_of_a_turn_has_its_own_counts() -> None:
    reader = UsageReader()
    for event in (begun("claude-x", input_tokens=9), ended(output_tokens=3), begun("claude-y", input_tokens=20)):
        reader.feed({"type": "stream_event", "event": event})

    assert reader.messages == [
        MessageUsage("claude-x", {"input_tokens": 9, "output_tokens": 3}),
        MessageUsage("claude-y", {"input_tokens": 20}),
    ]


def test_events_without_counts_change_nothing() -> None:
    reader = UsageReader()
    for event in (
        ended(output_tokens=3),
        {"type": "message_start"},
        {"type": "message_start", "message": {"model": "claude-x", "usage": None}},
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 77}},
        {"type": "ping"},
        {},
    ):
        reader.feed(event)

    assert reader.messages == [MessageUsage("claude-x", {})]
    assert not reader.is_whole


def test_the_counts_of_messages_are_added_up_to_the_last_detail() -> None:
    one = {
        "input_tokens": 1,
        "cache_creation": {"ephemeral_1h_input_tokens": 2},
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    }
    other = {"input_tokens": 10, "output_tokens": 5, "server_tool_use": {"web_search_requests": 1}, "service_tier": "x"}

    assert add_counts(add_counts({}, one), {**one, **other}) == {
        "input_tokens": 11,
        "output_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 4},
        "output_tokens_details": {"thinking_tokens": 6},
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "x",
    }
