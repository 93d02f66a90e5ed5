"""A few files run in one process, and everything else on all processors."""

from typing import Any

import pytest

from tests.plugins.workers import MOST, pytest_xdist_auto_num_workers


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        (["tests/api/test_app.py"], False),
        (["tests/api/test_app.py::test_one"], False),
        (["tests/api/test_app.py", "tests/api/test_mcp.py"], False),
        (["tests"], True),
        (["tests/api", "tests/api/test_app.py"], True),
        ([f"tests/{number}.py" for number in range(4)], True),
    ],
)
def test_workers_start_for_more_than_a_few_files(
    arguments: list[str], workers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    config: Any = type("Config", (), {"args": arguments})

    count = pytest_xdist_auto_num_workers(config)

    assert count is not None
    assert 1 <= count <= MOST if workers else count == 0


def test_the_environment_may_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")

    assert pytest_xdist_auto_num_workers(type("Config", (), {"args": ["tests"]})()) is None
