"""Token counts, as a response adds them up."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from translate import usage
from translate.responses.asked import ServiceTier
from translate.responses.wire import InputTokensDetails, OutputTokensDetails, ResponseUsage


def usage_from(counts: Mapping[str, Any]) -> ResponseUsage:
    """Count tokens as OpenAI does: those read from Claude's cache and those written to it are part of the input."""
    chat = usage.usage_from(counts)
    details = chat.completion_tokens_details
    return ResponseUsage(
        input_tokens=chat.prompt_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=chat.prompt_tokens_details.cached_tokens,
            cache_write_tokens=chat.prompt_tokens_details.cache_write_tokens,
        ),
        output_tokens=chat.completion_tokens,
        output_tokens_details=OutputTokensDetails(0 if details is UNSET else details.reasoning_tokens),
        total_tokens=chat.total_tokens,
    )


def service_tier(counts: Mapping[str, Any]) -> ServiceTier:
    """Return OpenAI's word for the tier that Claude's usage says has answered."""
    return "priority" if counts.get("service_tier") == "priority" else "default"
