"""Batches over HTTP: created, listed, looked at and cancelled, by their owners alone."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from storage import batches as stored
from storage.database import Database
from storage.files import Quota
from storage.stores import Stores
from tests.api.scripted import Scripted, client
from tests.openai_document import problems

pytestmark = pytest.mark.anyio

ANN, BOB = {"authorization": "Bearer ann"}, {"authorization": "Bearer bob"}


async def upload(http: httpx.AsyncClient, purpose: str = "batch", headers: Any = None) -> str:
    made = await http.post(
        "/v1/files", files={"file": ("a.jsonl", b"{}")}, data={"purpose": purpose}, headers=headers or ANN
    )
    return str(made.json()["id"])


async def create(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    fields = {"endpoint": "/v1/responses", "completion_window": "24h", **more}
    if "input_file_id" not in fields:
        fields["input_file_id"] = await upload(http)
    return await http.post("/v1/batches", json=fields, headers=ANN)


async def test_a_batch_is_created_listed_and_cancelled() -> None:
    # No runner is there: the batch stays as it is.
    async with client(Scripted()) as http:
        made = await create(http, metadata={"for": "x"})
        batch = made.json()
        found = await http.get(f"/v1/batches/{batch['id']}", headers=ANN)
        listed = await http.get("/v1/batches", headers=ANN)
        cancelled = await http.post(f"/v1/batches/{batch['id']}/cancel", headers=ANN)

    assert (made.status_code, batch["status"], batch["metadata"]) == (200, "validating", {"for": "x"})
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert batch["expires_at"] - batch["created_at"] == 86_400
    assert found.json() == batch
    assert listed.json()["data"] == [batch]
    assert cancelled.json()["status"] == "cancelling"
    assert cancelled.json()["cancelling_at"] >= batch["created_at"]
    assert problems("Batch", batch) == problems("Batch", cancelled.json()) == []
    assert problems("ListBatchesResponse", listed.json()) == []


async def test_a_batch_is_its_owners_alone() -> None:
    async with client(Scripted()) as http:
        batch = (await create(http)).json()
        for method, path in (("GET", ""), ("POST", "/cancel")):
            answer = await http.request(method, f"/v1/batches/{batch['id']}{path}", headers=BOB)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "batch_not_found")
        assert (await http.get("/v1/batches", headers=BOB)).json()["data"] == []
        assert (await http.get(f"/v1/batches?after={batch['id']}", headers=BOB)).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": None}, "completion_window"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": 5}, "input_file_id"),
        ({"metadata": 5}, "metadata"),
        ({"odd": 1}, "odd"),
        ({"output_expires_after": {"days": 1}}, "output_expires_after.days"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ],
)
async def test_bad_input_is_refused_by_its_name(wrong: dict[str, Any], param: str) -> None:
    async with client(Scripted()) as http:
        answer = await create(http, **wrong)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_the_input_is_a_file_of_ones_own_for_batches() -> None:
    async with client(Scripted()) as http:
        theirs = await create(http, input_file_id=await upload(http, headers=BOB))
        other = await create(http, input_file_id=await upload(http, purpose="user_data"))

    assert (theirs.status_code, theirs.json()["error"]["param"]) == (404, "input_file_id")
    assert (other.status_code, other.json()["error"]["param"]) == (400, "input_file_id")


async def test_too_many_batches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_ACTIVE", 1)
    async with client(Scripted()) as http:
        first, second = await create(http), await create(http)

    assert (first.status_code, second.status_code) == (200, 429)


async def test_a_batch_has_room_or_is_refused(tmp_path: Path) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database, quota=Quota(owner_bytes=5)) as stores, client(Scripted(), stores=stores) as http:
            id = await upload(http)
            answers = [await create(http, input_file_id=id) for _ in range(2)]

    assert [one.status_code for one in answers] == [200, 413]
    assert answers[1].json()["error"]["code"] == "storage_limit_exceeded"
