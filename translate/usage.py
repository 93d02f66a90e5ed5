"""Token counts as OpenAI counts them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """How many prompt tokens were read from the cache, and how many were written to it. Claude gets no audio."""

    cached_tokens: int = 0
    audio_tokens: int = 0
    cache_write_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """How many completion tokens were spent on thinking. It is 0 if Claude does not report it.

    The other counts are always 0: Claude has no audio and no predicted outputs.
    """

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class CompletionUsage(msgspec.Struct, frozen=True):
    """OpenAI's ``usage``."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


type AnsweringTier = Literal["default", "flex", "priority"]
"""OpenAI's values of ``service_tier`` in an answer that are used here."""

# Claude's tier -> OpenAI's. «flex» is OpenAI's word for the price of batches.
TIERS: dict[str, AnsweringTier] = {"standard": "default", "priority": "priority", "batch": "flex"}


def service_tier(usage: Mapping[str, Any]) -> AnsweringTier:
    """Return OpenAI's word for the tier that answered, as Claude's ``usage`` says; ``default`` if it does not."""
    tier = usage.get("service_tier")
    return TIERS.get(tier, "default") if isinstance(tier, str) else "default"


def merge_usage(so_far: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts with a later event's over earlier ones. Counts are cumulative. Null means «unchanged»."""
    return {**so_far, **{key: value for key, value in later.items() if value is not None}}


class MessageUsage(msgspec.Struct, frozen=True):
    """The model of one of Claude's messages, and its latest ``usage``."""

    model: str
    usage: dict[str, Any]


class UsageReader:
    """Reads token usage from Claude's stream events. Feed it every event of a turn.

    A turn can have several messages, because an agent calls the API several times.
    """

    def __init__(self) -> None:
        self.messages: list[MessageUsage] = []
        """One entry for each ``message_start``, oldest first."""
        self.is_whole = True
        """Whether the final counts of the last message are there. Before that, only its prompt's counts are."""

    def feed(self, event: Mapping[str, Any]) -> None:
        """Read an event, or an SDK message that contains one. Events without usage change nothing."""
        match event:
            case {"type": "stream_event", "event": Mapping() as inner}:
                self.feed(inner)
            case {"type": "message_start", "message": Mapping() as message}:
                usage = message.get("usage")
                told = merge_usage({}, usage) if isinstance(usage, Mapping) else {}
                self.messages.append(MessageUsage(str(message.get("model") or ""), told))
                self.is_whole = False
            # If a stream breaks off, Claude Code invents a message_delta without a stop reason.
            case {"type": "message_delta", "delta": {"stop_reason": str()}, "usage": Mapping() as usage} if (
                self.messages
            ):
                last = self.messages[-1]
                # The API's documentation says that counts are cumulative, so they replace the earlier ones.
                self.messages[-1] = MessageUsage(last.model, merge_usage(last.usage, usage))
                self.is_whole = True
            case _:
                pass


COUNTED = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


DETAILS = ("cache_creation", "server_tool_use", "output_tokens_details")
"""Fields of ``usage`` that are objects with counts."""


def add_counts(so_far: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Add one message's ``usage`` to that of others, in Claude's form. Other fields have the last message's values."""
    total = {**so_far, **more}
    for name in total:
        if name in COUNTED:
            total[name] = _count(so_far, name) + _count(more, name)
        elif name in DETAILS:
            parts = [part for usage in (so_far, more) if isinstance(part := usage.get(name), Mapping)]
            total[name] = {key: sum(_count(part, key) for part in parts) for part in parts for key in part}
    return total


def usage_from(usage: Mapping[str, Any]) -> CompletionUsage:
    """Count tokens as OpenAI does.

    ``prompt_tokens`` includes cached tokens. Claude's ``input_tokens`` does not, so they are added here.
    Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching, «Tracking cache performance».
    """
    read = _count(usage, "cache_read_input_tokens")
    written = _count(usage, "cache_creation_input_tokens")
    prompt = _count(usage, "input_tokens") + read + written
    completion = _count(usage, "output_tokens")
    details = usage.get("output_tokens_details") or {}
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=read, cache_write_tokens=written),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=_count(details, "thinking_tokens")),
    )


def add_usage(usages: Sequence[CompletionUsage]) -> CompletionUsage:
    """Add up the counts of several answers."""
    return CompletionUsage(
        prompt_tokens=sum(u.prompt_tokens for u in usages),
        completion_tokens=sum(u.completion_tokens for u in usages),
        total_tokens=sum(u.total_tokens for u in usages),
        prompt_tokens_details=PromptTokensDetails(
            cached_tokens=sum(u.prompt_tokens_details.cached_tokens for u in usages),
            cache_write_tokens=sum(u.prompt_tokens_details.cache_write_tokens for u in usages),
        ),
        completion_tokens_details=CompletionTokensDetails(
            reasoning_tokens=sum(u.completion_tokens_details.reasoning_tokens for u in usages)
        ),
    )


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
