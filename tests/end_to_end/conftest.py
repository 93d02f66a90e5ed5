"""One cloud for all tests, and one proxy for those that need nothing special of theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds, for what it must start")


@pytest.fixture(scope="session")
def the_cloud() -> Iterator[Cloud]:
    """The simulated API, for the whole session."""
    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(the_cloud: Cloud) -> Iterator[Cloud]:
    """The simulated API, with no memory of other tests."""
    the_cloud.reset()
    yield the_cloud
    the_cloud.reset()


@pytest.fixture(scope="session")
def the_proxy(the_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """`understudy serve` with an API key and a base-URL door, for the whole session."""
    # One try each: what is tried again has tests of its own, and every other one counts requests.
    env = clean_environment(tmp_path_factory.mktemp("the-proxy"), the_cloud.base_url, UNDERSTUDY_RETRIES="0")
    del env["UNDERSTUDY_SPARE_PROCESSES"]
    with serve(env, "--base-url", "127.0.0.1:0") as proxy:
        yield proxy


@pytest.fixture
def proxy(the_proxy: Proxy, cloud: Cloud) -> Proxy:
    """That proxy, before a cloud with no memory."""
    return the_proxy


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A HOME for one test's own Understudy."""
    return tmp_path / "home"
