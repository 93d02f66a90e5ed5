"""A batch is answered line by line, as its owner's own requests, when nobody else waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.access import Access
from api.app import App
from api.batch_runner import BatchRunner
from api.routes import ROUTES
from auth.keys.budgets import Budgets, spent
from auth.keys.clients import Clients
from auth.keys.limits import Budget
from engine import ClaudeError
from storage import batches as stored
from storage.batches import Batches
from storage.database import Database, StoreError
from storage.encryption import Encryption
from storage.files import Files
from storage.stores import Stores
from tests.api.scripted import END, START, Scripted, client, parts, text
from tests.openai_document import problems

pytestmark = pytest.mark.anyio

ANSWER = [START, *text("Aye."), END]
ANN = {"authorization": "Bearer ann"}
GUARD_S = 60.0


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(GUARD_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@dataclass
class Running:
    """A server, and what runs its batches."""

    http: httpx.AsyncClient
    stores: Stores
    headers: dict[str, str]

    async def create(self, *lines: Any, endpoint: str = "/v1/chat/completions") -> dict[str, Any]:
        data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        made = await self.http.post(
            "/v1/files", files={"file": ("in.jsonl", data)}, data={"purpose": "batch"}, headers=self.headers
        )
        fields = {"endpoint": endpoint, "completion_window": "24h", "input_file_id": made.json()["id"]}
        batch: dict[str, Any] = (await self.http.post("/v1/batches", json=fields, headers=self.headers)).json()
        return batch

    async def until(self, batch: dict[str, Any], *statuses: str) -> dict[str, Any]:
        async with asyncio.timeout(GUARD_S):
            while True:
                answer = await self.http.get(f"/v1/batches/{batch['id']}", headers=self.headers)
                found: dict[str, Any] = answer.json()
                if found["status"] in statuses:
                    return found
                await asyncio.sleep(0.02)

    async def lines(self, id: str | None) -> list[dict[str, Any]]:
        content = await self.http.get(f"/v1/files/{id}/content", headers=self.headers)
        return [json.loads(line) for line in content.text.splitlines()]


@asynccontextmanager
async def running(
    engine: Any,
    folder: Path,
    *,
    access: Access | None = None,
    headers: dict[str, str] | None = None,
    concurrency: int = 2,
) -> AsyncIterator[Running]:
    with Database.open(folder / "kept.db") as database:
        async with Stores.on(database) as stores:
            fields = {"stores": stores, **({"access": access} if access else {})}
            app = App(parts(engine, **fields), ROUTES)
            async with (
                BatchRunner(app, stores, concurrency=concurrency, poll_s=0.02),
                client(engine, **fields) as http,
            ):
                yield Running(http, stores, headers or ANN)


def line(id: str, endpoint: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    own = {"messages": [{"role": "user", "content": id}]} if "chat" in endpoint else {}
    return {"custom_id": id, "method": "POST", "url": endpoint, "body": {"model": "gpt-4o", **own, **body}}


async def test_a_batch_is_answered_and_its_results_are_files(tmp_path: Path) -> None:
    async with running(Scripted(ANSWER, ANSWER), tmp_path) as own:
        batch = await own.until(
            await own.create(line("a"), line("wrong", n="many"), line("streamed", stream=True), line("b")),
            "completed",
        )
        good, bad = await own.lines(batch["output_file_id"]), await own.lines(batch["error_file_id"])
        file = (await own.http.get(f"/v1/files/{batch['output_file_id']}", headers=ANN)).json()

    assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
    assert [one["custom_id"] for one in good] == ["a", "b"]
    for one in good:
        assert (one["response"]["status_code"], one["error"]) == (200, None)
        assert one["response"]["request_id"].startswith("req_")
        assert one["response"]["body"]["choices"][0]["message"]["content"] == "Aye."
        assert problems("CreateChatCompletionResponse", one["response"]["body"]) == []
    assert [(one["custom_id"], one["response"]["status_code"]) for one in bad] == [("wrong", 400), ("streamed", 400)]
    assert [one["response"]["body"]["error"]["param"] for one in bad] == ["n", "stream"]
    assert (batch["model"], batch["usage"]["total_tokens"]) == ("gpt-4o", 14)
    assert (file["purpose"], file["filename"]) == ("batch_output", f"{batch['id']}_output.jsonl")
    assert file["expires_at"] - file["created_at"] == 30 * 86_400
    assert all(batch[f"{name}_at"] for name in ("in_progress", "finalizing", "completed"))
    assert problems("Batch", batch) == problems("OpenAIFile", file) == []


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/responses", {"input": "Hi"}, "response"),
        ("/v1/completions", {"prompt": "Hi"}, "text_completion"),
    ],
)
async def test_other_endpoints_are_answered_too(tmp_path: Path, endpoint: str, body: Any, kind: str) -> None:
    async with running(Scripted(ANSWER), tmp_path) as own:
        made = await own.create(line("a", endpoint, **body), endpoint=endpoint)
        (one,) = await own.lines((await own.until(made, "completed"))["output_file_id"])

    assert one["response"]["body"]["object"] == kind


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([], "empty_file", None),
        ([line("a"), b"{"], "invalid_json_line", 2),
        ([line("a"), line("a")], "duplicate_custom_id", 2),
        ([line("a", "/v1/responses")], "mismatched_endpoint", 1),
    ],
)
async def test_a_file_that_is_not_valid_fails_the_batch(
    tmp_path: Path, lines: list[Any], code: str, number: int | None
) -> None:
    engine = Scripted()
    async with running(engine, tmp_path) as own:
        batch = await own.until(await own.create(*lines), "failed")

    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"]) == (code, number)
    assert problems("Batch", batch) == []
    assert engine.turns == []


async def test_a_failure_that_passes_is_tried_again_and_one_that_stays_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.batch_runner.RETRY_S", 0.0)
    busy, broken = ClaudeError("busy"), ClaudeError("api_error")
    engine = Scripted(*([busy] for _ in range(5)), [broken], ANSWER, *([broken] for _ in range(stored.MAX_ATTEMPTS)))
    async with running(engine, tmp_path, concurrency=1) as own:
        batch = await own.until(await own.create(line("passes"), line("stays")), "completed")
        (good,), (bad,) = await own.lines(batch["output_file_id"]), await own.lines(batch["error_file_id"])

    assert (good["custom_id"], bad["custom_id"], bad["response"]["status_code"]) == ("passes", "stays", 500)


async def test_a_cancelled_batch_ends_with_what_it_has(tmp_path: Path) -> None:
    gate = asyncio.Event()
    engine = Scripted([gate, *ANSWER])
    async with running(engine, tmp_path, concurrency=1) as own:
        batch = await own.create(line("a"), line("b"))
        await eventually(lambda: bool(engine.turns))
        cancelled = await own.http.post(f"/v1/batches/{batch['id']}/cancel", headers=ANN)
        gate.set()
        ended = await own.until(batch, "cancelled")
        lines = await own.lines(ended["output_file_id"])
        again = await own.http.post(f"/v1/batches/{batch['id']}/cancel", headers=ANN)

    assert cancelled.json()["status"] == "cancelling"
    assert [one["custom_id"] for one in lines] == ["a"]
    assert "error_file_id" not in ended
    assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 0}
    assert again.json()["status"] == "cancelled"


async def test_a_completed_batch_cannot_be_cancelled(tmp_path: Path) -> None:
    async with running(Scripted(ANSWER), tmp_path) as own:
        batch = await own.until(await own.create(line("a")), "completed")
        answer = await own.http.post(f"/v1/batches/{batch['id']}/cancel", headers=ANN)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "invalid_status")


async def test_a_batch_that_takes_too_long_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "WINDOW_S", 0.0)
    async with running(Scripted(), tmp_path) as own:
        batch = await own.until(await own.create(line("a")), "expired")
        (one,) = await own.lines(batch["error_file_id"])

    assert (one["custom_id"], one["response"], one["error"]["code"]) == ("a", None, "batch_expired")
    assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}


async def test_while_others_wait_no_line_begins(tmp_path: Path) -> None:
    class Busy(Scripted):
        def __init__(self, *scripts: Any) -> None:
            super().__init__(*scripts)
            self.looked = 0
            self.told: dict[str, Any] = {"waiting": 1, "running": 8, "limit": 8}

        def status(self) -> dict[str, Any]:
            self.looked += 1
            return self.told

    engine = Busy(ANSWER)
    async with running(engine, tmp_path) as own:
        batch = await own.until(await own.create(line("a")), "in_progress")
        for told in ({"waiting": 1, "running": 0}, {"running": 7, "limit": 8}, {"running": 1, "limit": 1}):
            engine.told, seen = told, engine.looked
            await eventually(lambda seen=seen: engine.looked >= seen + 3)  # type: ignore[misc]
        assert engine.turns == []
        engine.told = {"waiting": 0, "running": 6, "limit": 8}
        await own.until(batch, "completed")

    assert len(engine.turns) == 1


async def test_a_batch_whose_input_cannot_be_read_does_not_keep_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.batch_runner.RETRY_S", 300.0)
    looked: list[str] = []
    pieces = Files.pieces

    def read(self: Files, id: str) -> AsyncIterator[bytes]:
        looked.append(id)
        return pieces(self, id)

    monkeypatch.setattr(Files, "pieces", read)
    async with running(Scripted(ANSWER), tmp_path) as own:
        with monkeypatch.context() as patched:
            # The pieces alone are sealed with a key that no proxy has.
            patched.setattr(Encryption, "seal_bytes", Encryption([Encryption.new_key()]).seal_bytes)
            sealed = await own.create(line("a"))
        batch = await own.until(await own.create(line("b")), "completed")
        waits = await own.until(sealed, "validating")

    assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert looked.count(waits["input_file_id"]) == 1


async def test_a_batch_that_cannot_be_taken_care_of_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def fail(self: object, id: str) -> AsyncIterator[bytes]:
        tried.append(id)
        raise ArithmeticError

    monkeypatch.setattr("api.batch_runner.RETRY_S", 0.0)
    monkeypatch.setattr(Files, "pieces", fail)
    async with running(Scripted(), tmp_path) as own:
        batch = await own.until(await own.create(line("a")), "failed")

    assert [error["code"] for error in batch["errors"]["data"]] == ["server_error"]
    assert len(tried) == stored.MAX_ATTEMPTS


async def test_a_batch_that_cannot_be_read_fails_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, id: str) -> AsyncIterator[bytes]:
        raise StoreError("sealed")

    monkeypatch.setattr("api.batch_runner.RETRY_S", 0.0)
    monkeypatch.setattr(stored, "WINDOW_S", 0.0)
    monkeypatch.setattr(Files, "pieces", fail)
    async with running(Scripted(), tmp_path) as own:
        batch = await own.until(await own.create(line("a")), "failed")

    assert [error["code"] for error in batch["errors"]["data"]] == ["server_error"]


async def test_a_line_whose_answer_cannot_be_stored_is_tried_again_and_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise ArithmeticError

    monkeypatch.setattr("api.batch_runner.RETRY_S", 0.0)
    monkeypatch.setattr("api.batch_runner.answered", fail)
    engine = Scripted(*[ANSWER] * stored.MAX_ATTEMPTS)
    async with running(engine, tmp_path, concurrency=1) as own:
        batch = await own.until(await own.create(line("a")), "completed")
        (bad,) = await own.lines(batch["error_file_id"])
        assert not own.stores.batches.held.lines

    assert (bad["custom_id"], bad["response"], bad["error"]["code"]) == ("a", None, "server_error")
    assert len(engine.turns) == stored.MAX_ATTEMPTS


async def test_large_lines_are_stored_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    real = Batches.add_lines

    async def add(self: Batches, batch: Any, first: int, requests: Any) -> None:
        numbers.append(len(requests))
        await real(self, batch, first, requests)

    monkeypatch.setattr("api.batch_runner.BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(Batches, "add_lines", add)
    large: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 600}]}
    async with running(Scripted(*[ANSWER] * 5), tmp_path) as own:
        batch = await own.until(await own.create(*(line(f"{n}", **large) for n in range(5))), "completed")
        good = await own.lines(batch["output_file_id"])

    assert numbers == [2, 2, 1]
    assert [one["custom_id"] for one in good] == [str(n) for n in range(5)]


async def test_a_proxy_that_ends_puts_its_lines_back(tmp_path: Path) -> None:
    engine = Scripted([asyncio.Event()])
    async with running(engine, tmp_path) as own:
        batch = await own.create(line("a"))
        await eventually(lambda: bool(engine.turns))
    async with running(Scripted(ANSWER), tmp_path) as own:
        ended = await own.until(batch, "completed")

    assert ended["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


async def test_a_proxy_with_no_room_for_batches_runs_none(tmp_path: Path) -> None:
    async with running(Scripted(), tmp_path, concurrency=0) as own:
        batch = await own.create(line("a"))
        assert await own.stores.batches.claim() is not None
        found = (await own.http.get(f"/v1/batches/{batch['id']}", headers=ANN)).json()

    assert found["status"] == "validating"


async def test_the_key_pays_and_its_limits_hold(tmp_path: Path) -> None:
    with Database.open(tmp_path / "keys.db") as database:
        keys = Clients(database)
        secret = keys.make("ann", models=("gpt-4o",))
        async with Budgets(database) as budgets:
            access = Access(keys, budgets)
            login = {"authorization": f"Bearer {secret}"}
            async with running(Scripted(ANSWER, ANSWER), tmp_path, access=access, headers=login) as own:
                made = await own.create(line("a"), line("other", model="o3"), line("b"))
                batch = await own.until(made, "completed")
                (bad,) = await own.lines(batch["error_file_id"])
        (used,) = spent(database).values()

    assert (bad["custom_id"], bad["response"]["status_code"]) == ("other", 403)
    assert (used.requests, used.tokens) == (2, 14)


async def test_a_budget_that_is_spent_fails_lines_and_a_rate_delays_them(tmp_path: Path) -> None:
    with Database.open(tmp_path / "keys.db") as database:
        keys = Clients(database)
        poor = keys.make("poor", budget=Budget(usd_total=0.000001))
        slow = keys.make("slow", budget=Budget(requests_per_minute=1))
        async with Budgets(database) as budgets:
            access = Access(keys, budgets)
            login = {"authorization": f"Bearer {poor}"}
            engine = Scripted(ANSWER, ANSWER)
            async with running(engine, tmp_path, access=access, headers=login, concurrency=1) as own:
                batch = await own.until(await own.create(line("a"), line("b")), "completed")
                (bad,) = await own.lines(batch["error_file_id"])
                own.headers = {"authorization": f"Bearer {slow}"}
                delayed = await own.create(line("a"), line("b"))
                async with asyncio.timeout(GUARD_S):
                    while True:
                        found = await own.until(delayed, "in_progress")
                        if found["request_counts"]["completed"]:
                            break
                        await asyncio.sleep(0.02)

    assert (bad["response"]["status_code"], bad["response"]["body"]["error"]["code"]) == (429, "insufficient_quota")
    assert found["request_counts"] == {"total": 2, "completed": 1, "failed": 0}


async def test_a_revoked_key_answers_no_more_lines(tmp_path: Path) -> None:
    gate = asyncio.Event()
    with Database.open(tmp_path / "keys.db") as database:
        keys = Clients(database)
        secret, other = keys.make("ann"), keys.make("bob")
        async with Budgets(database) as budgets:
            access = Access(keys, budgets)
            login = {"authorization": f"Bearer {secret}"}
            engine = Scripted([gate, *ANSWER])
            async with running(engine, tmp_path, access=access, headers=login, concurrency=1) as own:
                batch = await own.create(line("a"), line("b"))
                await eventually(lambda: bool(engine.turns))
                keys.revoke("ann")
                gate.set()
                async with asyncio.timeout(GUARD_S):
                    while True:
                        if not await own.stores.batches.any_open():
                            break
                        await asyncio.sleep(0.01)
                own.headers = {"authorization": f"Bearer {other}"}
                assert (await own.http.get(f"/v1/batches/{batch['id']}", headers=own.headers)).status_code == 404

        (used,) = [one for one in spent(database).values() if one.requests]
    assert used.requests == 1
