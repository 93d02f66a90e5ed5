"""What Claude's answers cost by Anthropic's price list.

The bill can differ. A subscription has no price per token. Bedrock and Vertex have their own prices. Batches and
contracts have discounts.

Source: https://platform.claude.com/docs/en/about-claude/pricing and the models' pages under …/docs/en/models/, as of
:data:`AS_OF`. A comment marks the rows that come from others' notes of these pages. A test compares the table with
the package ``genai-prices``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from translate.usage import COUNTED, MessageUsage

AS_OF = "2026-11-20"
"""The date when the table was last compared with the published prices."""

MILLION = 1_000_000

US_ONLY = 1.1
"""The factor on token prices if the request asked for inference in the US (``inference_geo``)."""

WEB_SEARCH_USD = 10 / 1000
"""The price of one web search with any model: 10 USD for 1,000. Its results also count as input tokens."""

# The models that names without a version, such as `opus`, stand for.
NEWEST = {
    "fable": "claude-fable-5-2",
    "opus": "claude-opus-5-5",
    "default": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens of each kind."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """The price of a request whose prompt has more than ``tokens`` tokens, with cached ones. It is for all tokens."""

    tokens: int
    price: Price


@dataclass(frozen=True, slots=True)
class Row:
    """The price of all names that begin with ``model``. A date or a suffix may follow."""

    model: str
    price: Price
    long: LongPrompt | None = None
    fast: float = 1
    """The factor on the price of a message in fast mode (``usage.speed`` is ``fast``)."""


_OPUS_4_5 = Price(5, 25, 6.25, 10, 0.5)
_OPUS_4 = Price(15, 75, 18.75, 30, 1.5)
_SONNET_4 = Price(3, 15, 3.75, 6, 0.3)

PRICES: tuple[Row, ...] = (
    Row("claude-fable-5-2", Price(8, 40, 10, 16, 0.2), fast=2),  # from others' notes, 2026-11
    Row("claude-mythos-5-2", Price(8, 40, 10, 16, 0.2), fast=2),
    Row("claude-fable-5-1", Price(10, 50, 12.5, 20, 0.25)),
    Row("claude-mythos-5-1", Price(10, 50, 12.5, 20, 0.25)),
    Row("claude-fable-5", Price(10, 50, 12.5, 20, 1)),
    Row("claude-mythos-5", Price(10, 50, 12.5, 20, 1)),
    Row("claude-opus-5-5", Price(4, 20, 5, 8, 0.2), fast=2),
    Row("claude-opus-5", _OPUS_4_5, fast=2),
    Row("claude-opus-4-8", _OPUS_4_5, fast=2),
    *(Row(f"claude-opus-4-{minor}", _OPUS_4_5, fast=6) for minor in (7, 6)),
    Row("claude-opus-4-5", _OPUS_4_5),
    Row("claude-opus-4-1", _OPUS_4),
    Row("claude-opus-4", _OPUS_4),
    # Reading the cache cost 0.20 up to 2026-10-07; from others' notes, 2026-10.
    Row("claude-sonnet-5-5", Price(2, 10, 2.5, 4, 0.1)),
    Row("claude-sonnet-5", Price(2, 10, 2.5, 4, 0.2)),
    Row("claude-sonnet-4-6", _SONNET_4),
    Row("claude-sonnet-4-5", _SONNET_4, LongPrompt(200_000, Price(6, 22.5, 7.5, 12, 0.6))),
    Row("claude-sonnet-4", _SONNET_4),
    Row(
        "claude-haiku-5-5",
        Price(0.1, 0.5, 0.125, 0.2, 0.01),
        LongPrompt(100_000, Price(0.5, 2.5, 0.625, 1, 0.05)),
    ),
    Row("claude-haiku-4-5", Price(1, 5, 1.25, 2, 0.1)),
    Row("claude-3-opus", _OPUS_4),
    Row("claude-3-7-sonnet", _SONNET_4),
    Row("claude-3-5-sonnet", _SONNET_4),
    Row("claude-3-5-haiku", Price(0.8, 4, 1, 1.6, 0.08)),
    Row("claude-3-haiku", Price(0.25, 1.25, 0.3, 0.5, 0.03)),
)


def price_is_known(model: str) -> bool:
    """Whether the table has a price for a model, an alias or any provider's name for it."""
    return _row(model) is not None


def list_price(model: str) -> Price | None:
    """Return the price for prompts of usual length. ``model`` may be an alias or any provider's name."""
    row = _row(model)
    return None if row is None else row.price


def price_name(model: str) -> str:
    """Return the table's name for a model, without date or suffix. A name that is not in it is only lowercased."""
    row = _row(model)
    return model.lower() if row is None else row.model


def cost(model: str, usage: Mapping[str, Any], *, long_prompts: bool = True) -> float | None:
    """Return the cost of one message of Claude in US dollars, or None if the table has no price for the model.

    ``usage`` is in Claude's form (``input_tokens``, ``output_tokens``, ``cache_read_input_tokens``,
    ``cache_creation_input_tokens`` and, of these, ``cache_creation.ephemeral_1h_input_tokens``;
    ``server_tool_use.web_search_requests``; ``speed``; ``inference_geo``). Cache writes
    without a duration are counted as 5 minutes, the API's default. If ``long_prompts`` is false, a long prompt has the
    usual price.
    """
    row = _row(model)
    if row is None:
        return None
    written = count(usage, "cache_creation_input_tokens")
    for_an_hour = min(count(usage.get("cache_creation"), "ephemeral_1h_input_tokens"), written)
    fresh, read = count(usage, "input_tokens"), count(usage, "cache_read_input_tokens")
    is_long = long_prompts and row.long is not None and fresh + read + written > row.long.tokens
    price = row.long.price if row.long and is_long else row.price
    times = (row.fast if usage.get("speed") == "fast" else 1) * (US_ONLY if usage.get("inference_geo") == "us" else 1)
    dollars = times * (
        fresh * price.input
        + count(usage, "output_tokens") * price.output
        + (written - for_an_hour) * price.cache_write_5m
        + for_an_hour * price.cache_write_1h
        + read * price.cache_read
    )
    return dollars / MILLION + web_searches(usage) * WEB_SEARCH_USD


def cost_of(messages: Iterable[MessageUsage], *, unknown_as: str = "", long_prompts: bool = True) -> float | None:
    """Return the cost of several messages in US dollars, or None if one with usage has no known price.

    Models that are not in the table have the price of the model ``unknown_as``. ``long_prompts`` is as in
    :func:`cost`.
    """
    total = 0.0
    for message in messages:
        model = message.model if price_is_known(message.model) else unknown_as
        usd = cost(model, message.usage, long_prompts=long_prompts)
        if usd is None and (any(count(message.usage, name) for name in COUNTED) or web_searches(message.usage)):
            return None
        total += usd or 0.0
    return total


def web_searches(usage: Mapping[str, Any]) -> int:
    """Return how often the API searched the web for a message."""
    return count(usage.get("server_tool_use"), "web_search_requests")


def count(usage: Any, name: str) -> int:
    """Return a count of a ``usage`` object, or 0 if it is absent or not a positive integer."""
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _row(model: str) -> Row | None:
    """Return the row for a name of Anthropic, Bedrock (``us.anthropic.claude-…``) or Vertex (``…@20250929``)."""
    name = model.lower()
    name = NEWEST.get(name.partition("[")[0], name)
    name = name[max(name.find("claude-"), 0) :]
    return next((row for row in PRICES if re.match(re.escape(row.model) + _SAME_VERSION, name)), None)


# A version must not follow: claude-opus-4 is neither claude-opus-45 nor claude-opus-4-9. A zero (claude-opus-4-0) and
# a date are not versions.
_SAME_VERSION = r"(?!-[1-9]\d?(\D|$))(\D|$)"
