"""The state of the engine, for people and monitors."""

import pytest

from origin.status import STATUS_PATH
from tests.origin.scripted import Scripted, client

pytestmark = pytest.mark.anyio


async def test_the_engines_state_is_told() -> None:
    async with client(Scripted(), rehearsal=True) as http:
        answer = await http.get(STATUS_PATH)

    assert answer.json() == {"rehearsal": True, "turns": 0}
    assert answer.headers["cache-control"] == "no-store"


async def test_the_proxys_port_tells_nobody_else() -> None:
    async with client(Scripted(), token="secret") as http:
        answer = await http.get(STATUS_PATH)

    assert answer.status_code == 403
