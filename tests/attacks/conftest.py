"""A cloud and a home, as the end-to-end tests have them, and proxies to attack, one for each set of settings.

Starting a proxy takes seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.attacks.victim import Victim
from tests.end_to_end.conftest import cloud, home, the_cloud

__all__ = ["cloud", "home", "the_cloud", "victim"]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Victim]]:
    """Return the proxy with some settings, which asks for keys unless they say ``keys=False``."""
    running: dict[str, Victim] = {}
    with ExitStack() as stack:

        def with_settings(**settings: object) -> Victim:
            name = repr(sorted(settings.items()))
            if name not in running:
                home = tmp_path_factory.mktemp("victim")
                running[name] = stack.enter_context(Victim(home, **settings))  # type: ignore[arg-type]
            running[name].forget_peak()
            return running[name]

        yield with_settings
