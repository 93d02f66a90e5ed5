"""Tokens are counted as OpenAI counts them."""

import msgspec

from translate.responses.usage import tool_usage_from, usage_from


def test_the_cache_is_part_of_the_input() -> None:
    counts = {
        "input_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "output_tokens": 4000,
        "output_tokens_details": {"thinking_tokens": 3500},
    }

    assert msgspec.to_builtins(usage_from(counts)) == {
        "input_tokens": 321,
        "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 300},
        "output_tokens": 4000,
        "output_tokens_details": {"reasoning_tokens": 3500},
        "total_tokens": 4321,
    }


def test_missing_counts_are_zero() -> None:
    usage = usage_from({"cache_creation_input_tokens": None})

    assert usage.total_tokens == usage.input_tokens_details.cache_write_tokens == 0
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_only_web_searches_are_counted_among_the_tools_that_openai_runs() -> None:
    searched = msgspec.to_builtins(tool_usage_from({"server_tool_use": {"web_search_requests": 2}}))

    assert searched["web_search"] == {"num_requests": 2}
    assert searched["image_gen"]["total_tokens"] == 0
    assert tool_usage_from({"server_tool_use": None}).web_search.num_requests == 0
