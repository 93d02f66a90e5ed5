"""Which tests are fast."""

import pytest

pytest_plugins = ["pytester"]


def test_fast_tests_are_those_that_start_no_program(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("fast") is not None
