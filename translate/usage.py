"""Token counts, as OpenAI adds them up."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, those read from the cache and those written to it."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Of the answer's tokens, those spent on thinking."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, frozen=True, omit_defaults=False):
    """OpenAI's ``usage``. ``completion_tokens_details`` is there only when Claude told how many tokens it thought."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails | msgspec.UnsetType = msgspec.UNSET


def merge_usage(so_far: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Take a later event's counts over earlier ones: they are cumulative, and null means «not told again»."""
    return {**so_far, **{key: value for key, value in later.items() if value is not None}}


COUNTED = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def add_counts(so_far: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Add one message's counts to those of others, as Claude tells them; what is no count is the last one's."""
    total = {**so_far, **{name: value for name, value in more.items() if name not in COUNTED}}
    return total | {name: _count(so_far, name) + _count(more, name) for name in COUNTED if name in {**so_far, **more}}


def usage_from(usage: Mapping[str, Any]) -> CompletionUsage:
    """Count tokens as OpenAI does.

    ``prompt_tokens`` includes cached tokens; Claude reports those beside ``input_tokens``, so they are added here.
    Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching, «Tracking cache performance».
    """
    read = _count(usage, "cache_read_input_tokens")
    written = _count(usage, "cache_creation_input_tokens")
    prompt = _count(usage, "input_tokens") + read + written
    completion = _count(usage, "output_tokens")
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=read, cache_write_tokens=written),
        completion_tokens_details=(
            CompletionTokensDetails(reasoning_tokens=thinking) if isinstance(thinking, int) else msgspec.UNSET
        ),
    )


def add_usage(usages: Sequence[CompletionUsage]) -> CompletionUsage:
    """Add up the counts of several answers. Thinking is counted where every answer told it."""
    details = [u.completion_tokens_details for u in usages]
    thought = [d.reasoning_tokens for d in details if d is not msgspec.UNSET]
    return CompletionUsage(
        prompt_tokens=sum(u.prompt_tokens for u in usages),
        completion_tokens=sum(u.completion_tokens for u in usages),
        total_tokens=sum(u.total_tokens for u in usages),
        prompt_tokens_details=PromptTokensDetails(
            cached_tokens=sum(u.prompt_tokens_details.cached_tokens for u in usages),
            cache_write_tokens=sum(u.prompt_tokens_details.cache_write_tokens for u in usages),
        ),
        completion_tokens_details=(
            CompletionTokensDetails(sum(thought)) if thought and len(thought) == len(usages) else msgspec.UNSET
        ),
    )


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
