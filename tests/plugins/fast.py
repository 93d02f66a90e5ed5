"""The mark ``fast``, for every test that starts no program: ``pytest -m fast`` takes seconds.

Tests get it from where they are and what they ask for, so nobody sets it by hand.
"""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Most tests in these start a program: Understudy, Claude Code, a client, an interpreter.
SLOW_FOLDERS = {"attacks", "bench", "end_to_end", "engine", "launch", "understudy"}
SLOW_FIXTURES = {"postgres", "spawn"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fast: starts no program (set by tests/plugins/fast.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the slow folders when only fast tests were asked for."""
    if config.option.markexpr == "fast" and _folder(collection_path) in SLOW_FOLDERS:
        return True
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    if _folder(item.path) not in SLOW_FOLDERS and not _is_slow(item):
        item.add_marker("fast")


def _is_slow(item: pytest.Item) -> bool:
    if item.get_closest_marker("slow") or SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        return True
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return "postgresql" in parameters.values()


def _folder(path: Path) -> str:
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""
