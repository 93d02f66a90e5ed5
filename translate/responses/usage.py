"""Claude's counts -> the counts of a response."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from translate import usage
from translate.responses.wire import (
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseUsage,
    ToolUsage,
    WebSearchUsage,
)


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


def with_usage_of_both(first: Response, second: Response) -> Response:
    """Return the second of two tries, with the counts of both."""
    return replace(
        second,
        usage=_usage_of_both(first.usage, second.usage),
        tool_usage=_tool_usage_of_both(first.tool_usage, second.tool_usage),
    )


def _usage_of_both(first: ResponseUsage | None, second: ResponseUsage | None) -> ResponseUsage | None:
    if first is None or second is None:
        return first or second
    read, more = first.input_tokens_details, second.input_tokens_details
    thought = first.output_tokens_details.reasoning_tokens + second.output_tokens_details.reasoning_tokens
    return ResponseUsage(
        input_tokens=first.input_tokens + second.input_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=read.cached_tokens + more.cached_tokens,
            cache_write_tokens=read.cache_write_tokens + more.cache_write_tokens,
        ),
        output_tokens=first.output_tokens + second.output_tokens,
        output_tokens_details=OutputTokensDetails(thought),
        total_tokens=first.total_tokens + second.total_tokens,
    )


def _tool_usage_of_both(first: ToolUsage | UnsetType, second: ToolUsage | UnsetType) -> ToolUsage | UnsetType:
    if first is UNSET or second is UNSET:
        return first if second is UNSET else second
    # Claude makes no images.
    return ToolUsage(web_search=WebSearchUsage(first.web_search.num_requests + second.web_search.num_requests))
