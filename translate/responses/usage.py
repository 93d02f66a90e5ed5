"""Claude's counts -> the counts of a response."""

from collections.abc import Mapping
from typing import Any

from translate import usage
from translate.responses.wire import InputTokensDetails, OutputTokensDetails, ResponseUsage, ToolUsage, WebSearchUsage


def usage_from(counts: Mapping[str, Any]) -> ResponseUsage:
    """Count tokens as OpenAI does. The input includes tokens that were read from the cache or written to it."""
    chat = usage.usage_from(counts)
    return ResponseUsage(
        input_tokens=chat.prompt_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=chat.prompt_tokens_details.cached_tokens,
            cache_write_tokens=chat.prompt_tokens_details.cache_write_tokens,
        ),
        output_tokens=chat.completion_tokens,
        output_tokens_details=OutputTokensDetails(chat.completion_tokens_details.reasoning_tokens),
        total_tokens=chat.total_tokens,
    )


def tool_usage_from(counts: Mapping[str, Any]) -> ToolUsage:
    """Return how often the tools that OpenAI runs were used. Only web search exists here."""
    searches = (counts.get("server_tool_use") or {}).get("web_search_requests")
    return ToolUsage(web_search=WebSearchUsage(searches if isinstance(searches, int) else 0))
