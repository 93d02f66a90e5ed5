"""What is said about a list of numbers."""

import pytest

from bench.statistics import Summary, carried, differences, ratios, summarise


def test_the_middle_and_the_spread() -> None:
    assert summarise([float(n) for n in range(1, 22)]) == Summary(11.0, 3.0, 19.0, 20.0, 21)


def test_the_order_does_not_matter() -> None:
    assert summarise([3.0, 1.0, 2.0]) == summarise([1.0, 2.0, 3.0])


def test_one_measurement_is_its_own_middle_and_spread() -> None:
    assert summarise([3.0]) == Summary(3.0, 3.0, 3.0, 3.0, 1)


def test_no_measurement_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        summarise([])


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == [2.0, 3.0, 1.0]


def test_differences_are_taken_round_by_round() -> None:
    assert differences([2.0, 30.0], [1.0, 10.0]) == [1.0, 20.0]


@pytest.mark.parametrize("compare", [ratios, differences])
def test_a_round_that_only_one_of_two_has_is_an_error(compare: type) -> None:
    with pytest.raises(ValueError, match="zip"):
        compare([1.0, 2.0], [1.0])


def test_a_delta_that_comes_alone_was_on_its_way_until_then() -> None:
    assert carried([0.0, 10.0, 20.0], 4, [(1.0, 4), (12.0, 4), (23.0, 4)]) == [1.0, 2.0, 3.0]


def test_deltas_that_come_merged_arrive_together() -> None:
    assert carried([0.0, 10.0, 20.0], 4, [(12.0, 8), (21.0, 4)]) == [12.0, 2.0, 1.0]


def test_a_delta_that_comes_split_arrives_with_its_last_character() -> None:
    assert carried([0.0, 10.0], 4, [(1.0, 3), (2.0, 1), (13.0, 4)]) == [2.0, 3.0]


@pytest.mark.parametrize("chars", [3, 5])
def test_text_that_is_lost_or_added_is_an_error(chars: int) -> None:
    with pytest.raises(ValueError, match="received"):
        carried([0.0], 4, [(1.0, chars)])
