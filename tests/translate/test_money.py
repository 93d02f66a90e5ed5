"""Dollars in words."""

import pytest

from translate.money import exact, short


@pytest.mark.parametrize(
    ("usd", "told"),
    [(0.0, "0.000000"), (1e-05, "0.000010"), (4e-07, "0.000000400"), (0.0178724, "0.017872"), (1234.5, "1234.500000")],
)
def test_an_exact_amount_has_its_millionths_and_no_exponent(usd: float, told: str) -> None:
    assert exact(usd) == told


@pytest.mark.parametrize(("usd", "told"), [(0.0, "0.0000"), (4e-07, "0.000000400"), (0.0412, "0.0412")])
def test_a_short_amount_is_never_nothing_where_something_was_spent(usd: float, told: str) -> None:
    assert short(usd) == told
