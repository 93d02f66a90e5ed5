"""What every test can ask for."""

import pytest

pytest_plugins = [
    "tests.plugins.allowed_skips",
    "tests.plugins.calm",
    "tests.plugins.fast",
    "tests.plugins.program_logs",
    "tests.plugins.time_limit",
    "tests.plugins.workers",
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
