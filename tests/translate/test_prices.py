"""What an answer costs: by hand-made sums from the published table, and by somebody else's table."""

from decimal import Decimal

import genai_prices
import pytest

from translate.models import ALIASES
from translate.prices import NEWEST, PRICES, WEB_SEARCH_USD, LongPrompt, Price, Row, cost, cost_of, price_is_known
from translate.usage import MessageUsage


@pytest.mark.parametrize(
    ("model", "usage", "dollars"),
    [
        pytest.param("claude-opus-5-5", {"input_tokens": 1_000_000, "output_tokens": 100_000}, 6.0, id="in and out"),
        pytest.param("claude-opus-5-5", {"cache_read_input_tokens": 500_000}, 0.1, id="read from the cache"),
        pytest.param(
            "claude-sonnet-4-5-20250929", {"cache_creation_input_tokens": 200_000}, 0.75, id="written for 5 minutes"
        ),
        pytest.param(
            "claude-sonnet-4-5",
            {"cache_creation_input_tokens": 200_000, "cache_creation": {"ephemeral_1h_input_tokens": 100_000}},
            0.975,
            id="half of it written for an hour",
        ),
        pytest.param("claude-haiku-5-5", {"input_tokens": 100_000, "output_tokens": 1000}, 0.0105, id="a short prompt"),
        pytest.param(
            "claude-haiku-5-5",
            {"input_tokens": 1, "cache_read_input_tokens": 100_000, "output_tokens": 1000},
            0.0075005,
            id="a long prompt costs more, in every token",
        ),
        pytest.param("opus", {"output_tokens": 50_000}, 1.0, id="an alias is the newest"),
        pytest.param("opus[1m]", {"output_tokens": 50_000}, 1.0, id="with a long context"),
        pytest.param("us.anthropic.claude-opus-4-1-20250805-v1:0", {"output_tokens": 1000}, 0.075, id="as on Bedrock"),
        pytest.param("claude-opus-4@20250514", {"output_tokens": 1000}, 0.075, id="as on Vertex"),
        pytest.param("claude-opus-4-8", {"output_tokens": 1000}, 0.025, id="a minor version is not its major's"),
        pytest.param("claude-opus-5-5", {"output_tokens": 1000, "speed": "fast"}, 0.04, id="in fast mode"),
        pytest.param("claude-opus-4-6", {"output_tokens": 1000, "speed": "fast"}, 0.15, id="in an older fast mode"),
        pytest.param("claude-opus-4-5", {"output_tokens": 1000, "speed": "fast"}, 0.025, id="no fast mode"),
        pytest.param("claude-opus-5-5", {"output_tokens": 1000, "speed": "standard"}, 0.02, id="at the usual speed"),
        pytest.param(
            "claude-opus-5-5",
            {"cache_read_input_tokens": 10_000, "inference_geo": "us", "server_tool_use": {"web_search_requests": 1}},
            0.0122,
            id="in the US only, which a search does not cost more for",
        ),
        pytest.param("claude-opus-5-5", {"output_tokens": 1000, "inference_geo": "global"}, 0.02, id="anywhere"),
        pytest.param("claude-sonnet-5", {"server_tool_use": {"web_search_requests": 3}}, 0.03, id="three web searches"),
        pytest.param("claude-opus-4-0", {"output_tokens": 1000}, 0.075, id="the version that zero stands for"),
        pytest.param("claude-sonnet-5", {"input_tokens": None, "output_tokens": -5}, 0.0, id="nothing counted"),
    ],
)
def test_the_cost_of(model: str, usage: dict[str, object], dollars: float) -> None:
    assert cost(model, usage) == pytest.approx(dollars, rel=1e-12)


@pytest.mark.parametrize(
    "model", ["gpt-5", "claude-opus-6", "claude-opus-45", "claude-opus-5-9", "claude-sonnet-4-7-20270101", "claude", ""]
)
def test_nothing_is_said_of_a_model_that_is_not_in_the_table(model: str) -> None:
    assert cost(model, {"input_tokens": 1}) is None
    assert not price_is_known(model)


def test_every_row_can_be_reached() -> None:
    assert [row.model for row in PRICES if cost(row.model, {"output_tokens": 10**6}) != row.price.output] == []


def test_every_alias_has_the_price_of_what_it_stands_for() -> None:
    assert NEWEST == ALIASES


def test_writing_costs_more_than_input_and_reading_less() -> None:
    prices = [row.price for row in PRICES] + [row.long.price for row in PRICES if row.long]

    assert [p for p in prices if not p.cache_read < p.input < p.cache_write_5m < p.cache_write_1h < p.output] == []


def test_several_messages_cost_what_each_costs_by_itself() -> None:
    # Together they would be a long prompt, which each of them is not.
    half = MessageUsage("claude-haiku-5-5", {"input_tokens": 60_000})

    assert cost_of([half, half]) == pytest.approx(0.012, rel=1e-12)


def test_a_sum_with_a_message_of_unknown_price_is_unknown() -> None:
    known = MessageUsage("claude-opus-5-5", {"input_tokens": 1})

    assert cost_of([known, MessageUsage("claude-opus-9", {"output_tokens": 1})]) is None
    assert cost_of([known, MessageUsage("claude-opus-9", {"output_tokens": 0})]) == cost_of([known])
    assert cost_of([]) == 0


# Somebody else's table (https://github.com/pydantic/genai-prices), by its own way of counting.

NOT_IN_GENAI_PRICES = {
    "claude-mythos-5": "their list begins with 5.2; from Anthropic's page of the model",
    "claude-mythos-5-1": "their list begins with 5.2; from Anthropic's page of the model",
}
"""Rows that have nothing to be compared with there, and why they are right all the same."""

OTHER_IN_GENAI_PRICES: dict[str, str] = {}
"""Rows of which genai-prices says something else, and why ours is right."""

KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
}


def of_genai_prices(row: Row, kind: str, prompt: int) -> float:
    """Return what genai-prices says that a million tokens of a kind cost, after a prompt of so many."""
    counts = {"input_tokens": prompt, KINDS[kind]: prompt}
    if kind.startswith("cache_write"):
        counts["cache_write_tokens"] = prompt
    found = genai_prices.calc_price(genai_prices.Usage(**counts), row.model, provider_id="anthropic")
    price = found.output_price if kind == "output" else found.input_price
    return float(price / Decimal(prompt) * 1_000_000)


def known_to_genai_prices(row: Row) -> bool:
    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1), row.model, provider_id="anthropic")
    except LookupError:
        return False
    return True


COMPARED = [row for row in PRICES if row.model not in {**NOT_IN_GENAI_PRICES, **OTHER_IN_GENAI_PRICES}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", COMPARED, ids=[row.model for row in COMPARED])
def test_every_price_is_the_one_of_genai_prices(row: Row, kind: str) -> None:
    assert of_genai_prices(row, kind, 1000) == pytest.approx(getattr(row.price, kind), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", COMPARED, ids=[row.model for row in COMPARED])
def test_a_long_prompt_costs_what_genai_prices_says_and_from_there_on(row: Row, kind: str) -> None:
    long = row.long or LongPrompt(1_000_000, row.price)
    at, above = (of_genai_prices(row, kind, tokens) for tokens in (long.tokens, long.tokens + 1))

    assert at == pytest.approx(getattr(row.price, kind), rel=1e-9)
    assert above == pytest.approx(getattr(long.price, kind), rel=1e-9)


def test_a_web_search_costs_what_genai_prices_says() -> None:
    usage = genai_prices.Usage(web_searches=1000)

    found = genai_prices.calc_price(usage, "claude-opus-5-5", provider_id="anthropic")

    assert float(found.total_price) == pytest.approx(WEB_SEARCH_USD * 1000)


def test_the_exceptions_are_those_that_are_needed() -> None:
    unknown = {row.model for row in PRICES if not known_to_genai_prices(row)}

    assert unknown == set(NOT_IN_GENAI_PRICES)
    assert set(OTHER_IN_GENAI_PRICES) <= {row.model for row in PRICES}
    assert all(isinstance(row.price, Price) for row in PRICES)
