"""What is said about a list of numbers."""

import pytest

from bench.statistics import median_ratio, summarise


def test_the_middle_and_the_spread() -> None:
    summary = summarise([float(n) for n in range(1, 12)])

    assert (summary.median, summary.p10, summary.p90, summary.count) == (6.0, 2.0, 10.0, 11)


def test_one_measurement_is_its_own_middle() -> None:
    assert summarise([3.0]).p90 == 3.0


def test_no_measurement_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        summarise([])


def test_ratios_are_taken_round_by_round() -> None:
    assert median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0
