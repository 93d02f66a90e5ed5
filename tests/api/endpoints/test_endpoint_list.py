"""GET /v1 lists what is answered."""

import json
from pathlib import Path

import pytest

from api.access import Access
from api.routes import ROUTES
from auth.keys.budgets import Budgets
from auth.keys.clients import Clients
from storage.database import Database
from tests.api.scripted import Scripted, client

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


async def test_with_client_auth_the_list_needs_a_key(tmp_path: Path) -> None:
    with Database.open(tmp_path / "keys.db") as database:
        async with Budgets(database) as budgets, client(Scripted(), access=Access(Clients(database), budgets)) as http:
            answer = await http.get("/v1")

    assert answer.status_code == 401
    assert "completions" not in answer.text
