"""What a Claude Code process has used by its own account: the ``modelUsage`` of its results. Pure.

Each result tells what the process has used since its start, model by model. That has in it what the process asked the
API for besides the answers whose events it tells: the tools of an agent do that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translate.prices import count, price_name, web_searches
from translate.usage import COUNTED, MessageUsage

# Claude Code's words, and Anthropic's in a usage.
_WORDS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheCreationInputTokens": "cache_creation_input_tokens",
    "cacheReadInputTokens": "cache_read_input_tokens",
}
_FOR_AN_HOUR = "ephemeral_1h_input_tokens"


@dataclass(frozen=True, slots=True)
class Used:
    """What a process used of one model: tokens of each kind, web searches, and US dollars by Claude Code's own list."""

    counts: Mapping[str, int]
    usd: float
    is_priced: bool
    """Whether Claude Code knows the model's price. Where it does not, it takes another model's."""

    def since(self, before: "Used | None") -> "Used":
        """Return what was used since an earlier result."""
        if before is None:
            return self
        counts = {name: number - before.counts.get(name, 0) for name, number in self.counts.items()}
        return Used(counts, self.usd - before.usd, self.is_priced)


def read(model_usage: Mapping[str, Any] | None) -> dict[str, Used]:
    """Read the ``modelUsage`` of a result, by the names that the price list has for the models."""
    found: dict[str, Used] = {}
    for model, told in (model_usage or {}).items():
        if not isinstance(told, Mapping):
            continue
        counts = {name: count(told, word) for word, name in _WORDS.items()}
        counts[_FOR_AN_HOUR] = count(told, "cacheCreationEphemeral1hInputTokens")
        counts["web_search_requests"] = count(told, "webSearchRequests")
        usd = told.get("costUSD")
        used = Used(counts, usd if isinstance(usd, int | float) else 0.0, told.get("costBasis") != "unknown")
        name = price_name(model)
        if (same := found.get(name)) is not None:  # the same model by another name, with a date or with [1m]
            both = {key: number + same.counts[key] for key, number in counts.items()}
            used = Used(both, used.usd + same.usd, used.is_priced and same.is_priced)
        found[name] = used
    return found


def unheard(used: Mapping[str, Used], heard: Sequence[MessageUsage]) -> list[MessageUsage]:
    """Return what was used beyond the messages that were heard, one usage for each model.

    The tools of an agent ask the API too: a subagent, a web search, a page that is summed up. Their stream events are
    not told.
    """
    left: list[MessageUsage] = []
    for model, theirs in used.items():
        same = [message.usage for message in heard if price_name(message.model) == model]
        usage: dict[str, Any] = {
            name: max(0, theirs.counts[name] - sum(count(one, name) for one in same)) for name in COUNTED
        }
        for_an_hour = sum(count(one.get("cache_creation"), _FOR_AN_HOUR) for one in same)
        searched = sum(map(web_searches, same))
        usage["cache_creation"] = {_FOR_AN_HOUR: max(0, theirs.counts[_FOR_AN_HOUR] - for_an_hour)}
        usage["server_tool_use"] = {"web_search_requests": max(0, theirs.counts["web_search_requests"] - searched)}
        if any(usage[name] for name in COUNTED) or web_searches(usage):
            left.append(MessageUsage(model, usage))
    return left
