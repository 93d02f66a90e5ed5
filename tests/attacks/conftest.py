"""A proxy of its own for each attack: what it holds in memory is then the attack's."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacks.victim import Victim


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    """Start proxies that ask for keys, by their settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Victim(tmp_path / "home", **settings))
