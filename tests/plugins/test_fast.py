"""Which tests are fast: those that start no program, by where they are, what they ask for and what they import."""

import pytest

from tests.plugins.fast import SLOW_FILES, SLOW_FOLDERS, TESTS

pytest_plugins = ["pytester"]

PROGRAMS = """
import subprocess

def test_that_may_start_a_program():
    pass
"""
OTHERS = """
import pytest

@pytest.fixture
def spawn():
    return None

@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.param

@pytest.mark.slow
def test_that_is_slow():
    pass

def test_that_asks_for_a_process(spawn):
    pass

def test_on_a_database(database):
    pass

def test_of_a_function():
    pass
"""


def test_fast_tests_are_those_that_start_no_program(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    slow: takes long\n")
    pytester.makepyfile(test_programs=PROGRAMS, test_others=OTHERS)

    result = pytester.runpytest_inprocess(
        *("-p", "tests.plugins.fast", "-m", "fast", "--collect-only", "-q", "-n0", "-p", "no:cacheprovider")
    )

    found = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert found == ["test_on_a_database[sqlite]", "test_of_a_function"]


def test_every_slow_place_exists() -> None:
    assert [name for name in (*SLOW_FOLDERS, *SLOW_FILES) if not (TESTS / name).exists()] == []
