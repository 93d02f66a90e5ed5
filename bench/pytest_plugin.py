"""What the pytest plugin costs a test: a suite of trivial tests with its fixture, and the same suite without."""

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.first_token import clean
from bench.statistics import Summary, differences, summarise
from cassettes.format import HEADER, encode_line

TESTS = 200
"""How many tests the suite has."""

AIM_MS = 30.0
"""What a test may cost after the first."""

TEST = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it({fixture}number):
    assert number >= 0
"""

TIMES = """
import time

times = []

def pytest_runtest_protocol(item, nextitem):
    times.append(time.perf_counter())

def pytest_sessionfinish(session):
    times.append(time.perf_counter())
    (session.config.rootpath / "times").write_text("\\n".join(map(repr, times)))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the fixture costs: the first test of a suite (seconds), and each later one (milliseconds)."""

    first_s: float
    later_ms: Summary


def measure(rounds: int) -> list[Cost]:
    """Run both suites in turn, ``rounds`` times."""
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        place = Path(folder)
        environ = clean(place / "home")
        with_fixture, without = suite(place / "with", "understudy, "), suite(place / "without", "")
        return [cost(environ, with_fixture, without) for _ in range(rounds)]


def cost(environ: Mapping[str, str], with_fixture: Path, without: Path) -> Cost:
    """Run both suites once."""
    these, those = times(environ, with_fixture), times(environ, without)
    first, *later = differences(these, those)
    return Cost(first, summarise([seconds * 1000 for seconds in later]))


def suite(folder: Path, fixture: str) -> Path:
    """Write a suite; each test has a cassette, which is empty."""
    cassettes = folder / "cassettes" / "test_app"
    cassettes.mkdir(parents=True)
    (folder / "test_app.py").write_text(TEST.format(tests=TESTS, fixture=fixture))
    (folder / "conftest.py").write_text(TIMES)
    for number in range(TESTS):
        (cassettes / f"test_it-{number}.jsonl").write_bytes(encode_line(HEADER))
    return folder


def times(environ: Mapping[str, str], folder: Path) -> list[float]:
    """Run a suite, and return how long each test took in seconds, its fixtures included. Raises CalledProcessError."""
    (folder / "times").unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--understudy-record=none"]
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    at = [float(line) for line in (folder / "times").read_text().split("\n")]
    return [after - before for before, after in itertools.pairwise(at)]
