"""A test marked ``calm`` runs alone, whatever the other workers have to do."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from pathlib import Path

RUNNING = Path("running")

def alone(number):
    return number % 5 == 0

@pytest.mark.parametrize("number", [pytest.param(n, marks=[pytest.mark.calm] if alone(n) else []) for n in range(60)])
def test_one(number):
    own = RUNNING / str(number)
    own.touch()
    # Long enough for the other worker to come to its next tests.
    for _ in range(200):
        others = {int(path.name) for path in RUNNING.iterdir()} - {number}
        assert not (alone(number) and others)
        assert not any(map(alone, others))
    own.unlink()
"""


def test_a_calm_test_runs_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    Path("running").mkdir()

    result = pytester.runpytest_subprocess("-p", "tests.plugins.calm", "-n3", "--dist=load", "-p", "no:cacheprovider")

    result.assert_outcomes(passed=60)
