"""A failed test shows what the programs that it used have written."""

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import sys
import pytest
from tests.end_to_end.understudy import Started

def start(tmp_path, text):
    code = f"import sys; print({text!r}, file=sys.stderr, flush=True); sys.stdin.read()"
    return Started([sys.executable, "-c", code], {"HOME": str(tmp_path)})

@pytest.fixture(scope="session")
def program(tmp_path_factory):
    with start(tmp_path_factory.mktemp("home"), "of an earlier test") as started:
        yield started

def test_that_passes(program):
    program.err.wait_for("of an earlier test")

def test_that_fails(program, tmp_path):
    with start(tmp_path, "the reason") as started:
        started.err.wait_for("the reason")
        assert False
"""


def test_a_failed_test_shows_the_logs_of_its_programs_and_of_no_earlier_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)

    result = pytester.runpytest_subprocess("-p", "tests.plugins.program_logs", "-p", "no:cacheprovider", "-n0")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- stderr of python* -*", "the reason"])
    result.stdout.no_fnmatch_line("of an earlier test")
