"""The mark ``fast``, for every test that starts no program: ``pytest -m fast`` takes seconds, not minutes.

Tests get it from where they are, what they ask for and what their module imports, so nobody sets it by hand.
"""

import multiprocessing
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Most tests in these start a program: Understudy, Claude Code, a client, an interpreter, pytest.
SLOW_FOLDERS = {"attacks", "bench", "end_to_end", "engine", "launch", "plugins", "understudy"}
SLOW_FIXTURES = {"postgres", "spawn"}
SLOW_FILES = {
    "api/test_images.py": "images are looked at in a process of their own",
    "cli/test_auth.py": "starts Claude Code",
    "cli/test_rehearsal.py": "starts the rehearsal",
    "cassettes/redact/test_linear.py": "compares the time that texts of different lengths take",
    "translate/responses/test_generated_requests.py": "a thousand requests",
    "translate/test_generated_requests.py": "a thousand requests",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fast: starts no program (set by tests/plugins/fast.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the slow folders and files when only fast tests were asked for."""
    if config.option.markexpr == "fast" and _is_slow_place(collection_path):
        return True
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    if not _is_slow_place(item.path) and not _is_slow(item):
        item.add_marker("fast")


def _is_slow_place(path: Path) -> bool:
    if not path.is_relative_to(TESTS) or path == TESTS:
        return False
    name = path.relative_to(TESTS)
    return name.parts[0] in SLOW_FOLDERS or name.as_posix() in SLOW_FILES


def _is_slow(item: pytest.Item) -> bool:
    if item.get_closest_marker("slow") or SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        return True
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    # A fixture's parameter is its name: which of the two databases.
    if "postgresql" in [value for value in parameters.values() if isinstance(value, str)]:
        return True
    module = item.getparent(pytest.Module)
    used = vars(module.obj).values() if module is not None else ()
    return any(value in (subprocess, multiprocessing) for value in used if type(value) is type(subprocess))
