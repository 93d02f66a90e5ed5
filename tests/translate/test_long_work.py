"""What is long work, and what a thread that does it changes meanwhile."""

import gc
import sys

import pytest

from translate.long_work import MANY, giving_way, weight


@pytest.mark.parametrize(
    ("value", "at_least"),
    [
        ("x" * 1000, 1000),
        ({"a": ["x" * 10, b"y" * 20, None]}, 30),
        (list(range(100_000)), MANY),
        ([[n] for n in range(400)] * 2, MANY),
        ({"a": {str(n): n for n in range(1000)}}, MANY),
    ],
)
def test_a_value_weighs_what_it_takes_to_look_through(value: object, at_least: int) -> None:
    assert at_least <= weight(value) < 2 * at_least + 100


def test_the_settings_of_the_interpreter_are_restored_by_the_last_that_leaves() -> None:
    before = sys.getswitchinterval(), gc.isenabled()

    with giving_way():
        inside = sys.getswitchinterval(), gc.isenabled()
        with giving_way():
            assert (sys.getswitchinterval(), gc.isenabled()) == inside
        assert (sys.getswitchinterval(), gc.isenabled()) == inside

    assert inside[0] < before[0]
    assert not inside[1]
    assert (sys.getswitchinterval(), gc.isenabled()) == before
