"""What an answer costs, by hand-made sums from the published table."""

import pytest

from auth.prices import NEWEST, PRICES, cost
from translate.models import ALIASES


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
        pytest.param("claude-sonnet-5", {"input_tokens": None, "output_tokens": -5}, 0.0, id="nothing counted"),
    ],
)
def test_the_cost_of(model: str, usage: dict[str, object], dollars: float) -> None:
    assert cost(model, usage) == pytest.approx(dollars, rel=1e-12)


@pytest.mark.parametrize("model", ["gpt-5", "claude-opus-6", "claude-opus-45", "claude", ""])
def test_nothing_is_said_of_a_model_that_is_not_in_the_table(model: str) -> None:
    assert cost(model, {"input_tokens": 1}) is None


def test_every_row_can_be_reached() -> None:
    assert [row.model for row in PRICES if cost(row.model, {"output_tokens": 10**6}) != row.price.output] == []


def test_every_alias_has_the_price_of_what_it_stands_for() -> None:
    assert NEWEST == ALIASES


def test_writing_costs_more_than_input_and_reading_less() -> None:
    prices = [row.price for row in PRICES] + [row.long.price for row in PRICES if row.long]

    assert [p for p in prices if not p.cache_read < p.input < p.cache_write_5m < p.cache_write_1h < p.output] == []
