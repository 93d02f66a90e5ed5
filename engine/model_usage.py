"""The usage that a Claude Code process reports: the ``modelUsage`` of its results. Pure.

Each result has the usage of the process since its start, for each model. It includes requests whose events are not
reported, such as those of an agent's tools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translate.prices import count, price_name, web_searches
from translate.usage import COUNTED, MessageUsage

# Claude Code's names -> the names in a usage of Anthropic's API.
_WORDS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheCreationInputTokens": "cache_creation_input_tokens",
    "cacheReadInputTokens": "cache_read_input_tokens",
}
_FOR_AN_HOUR = "ephemeral_1h_input_tokens"


@dataclass(frozen=True, slots=True)
class Used:
    """The usage of one model: tokens of each kind, web searches, and US dollars by Claude Code's price list."""

    counts: Mapping[str, int]
    usd: float
    is_priced: bool
    """Whether Claude Code knows the model's price. If not, it uses the price of another model."""

    def since(self, before: "Used | None") -> "Used":
        """Return the usage since an earlier result."""
        if before is None:
            return self
        counts = {name: number - before.counts.get(name, 0) for name, number in self.counts.items()}
        return Used(counts, self.usd - before.usd, self.is_priced)


def read(model_usage: Mapping[str, Any] | None) -> dict[str, Used]:
    """Return the ``modelUsage`` of a result, with the models' names in our price list as keys."""
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
        if (same := found.get(name)) is not None:  # the same model under another name, with a date or with [1m]
            both = {key: number + same.counts[key] for key, number in counts.items()}
            used = Used(both, used.usd + same.usd, used.is_priced and same.is_priced)
        found[name] = used
    return found


def unheard(used: Mapping[str, Used], heard: Sequence[MessageUsage]) -> list[MessageUsage]:
    """Return the usage that is not in the given messages, one usage for each model.

    The tools of an agent make requests to the API too, for a subagent, a web search or the summary of a page. Their
    stream events are not reported.
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
