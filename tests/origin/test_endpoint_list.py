"""GET /v1 lists what is answered."""

import json

import pytest

from origin.access import Access
from origin.routes import ROUTES
from tests.origin.scripted import Scripted, client

pytestmark = pytest.mark.anyio


async def test_the_list_has_every_route_a_line_each() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1")

    listed = answer.json()["data"]
    assert {"method": "POST", "path": "/v1/chat/completions"} in listed
    assert {"method": "GET", "path": "/v1/models/{id}"} in listed
    assert len(listed) == len(ROUTES) - 1  # all but the list itself
    assert all(json.dumps(row) in answer.text for row in listed)
    assert len(answer.text.splitlines()) == len(listed) + 2


async def test_where_keys_are_asked_for_the_list_is_for_those_with_one() -> None:
    nobody = Access(None, None)  # type: ignore[arg-type] - neither is asked about a request without a key
    async with client(Scripted(), access=nobody) as http:
        answer = await http.get("/v1")

    assert answer.status_code == 401
    assert "completions" not in answer.text
