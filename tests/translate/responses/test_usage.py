"""Tokens are counted as OpenAI counts them."""

from typing import Any

import msgspec
import pytest

from translate.responses.usage import service_tier, usage_from


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


@pytest.mark.parametrize(
    ("counts", "tier"),
    [({}, "default"), ({"service_tier": "standard"}, "default"), ({"service_tier": "priority"}, "priority")],
)
def test_the_tier_is_openais_word(counts: dict[str, Any], tier: str) -> None:
    assert service_tier(counts) == tier
