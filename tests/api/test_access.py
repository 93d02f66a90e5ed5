"""Who may ask, how much, and what is booked: keys and budgets in a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.access import Access
from auth.keys.budgets import Budgets, spent
from auth.keys.clients import Clients
from auth.keys.limits import Budget
from engine import ClaudeError
from storage.database import Database
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = [START, *text("a"), END]


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with Database.open(tmp_path / "store.db") as database:
        yield database


@asynccontextmanager
async def guarded(
    database: Database, *scripts: Any, unknown_price_as: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    async with Budgets(database) as budgets:
        access = Access(Clients(database), budgets, unknown_price_as=unknown_price_as)
        async with client(Scripted(*scripts), access=access) as http:
            yield http


def login(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/understudy/status")]
)
async def test_without_a_key_nothing_is_answered(database: Database, method: str, path: str) -> None:
    async with guarded(database) as http:
        answer = await http.request(method, path, json=BODY)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "didn't provide" in answer.json()["error"]["message"]


async def test_whether_the_proxy_lives_is_told_to_everybody(database: Database) -> None:
    async with guarded(database) as http:
        answer = await http.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_a_wrong_key_is_told_by_its_last_characters_alone(database: Database) -> None:
    async with guarded(database) as http:
        answer = await http.get("/v1/models", headers=login("sk-understudy-0123456789abcdef-WRONG-0123456789"))

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "…6789" in answer.json()["error"]["message"]
    assert "WRONG" not in answer.text


async def test_a_revoked_key_is_refused_from_the_next_request_on(database: Database) -> None:
    keys = Clients(database)
    secret = keys.make("ann")

    async with guarded(database) as http:
        before = await http.get("/v1/models", headers=login(secret))
        keys.revoke("ann")
        after = await http.get("/v1/models", headers=login(secret))

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_usage_of_an_answer_is_booked_and_headers_have_the_limits(database: Database, stream: bool) -> None:
    secret = Clients(database).make("ann", budget=Budget(requests_per_minute=5, tokens_per_minute=1000))

    async with guarded(database, ANSWER) as http:
        answer = await http.post("/v1/chat/completions", json={**BODY, "stream": stream}, headers=login(secret))

    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "5"
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"
    (used,) = spent(database).values()
    assert (used.requests, used.tokens, used.usd, used.usd_estimated) == (1, 7, 0.00006, 0)


async def test_beyond_the_rate_a_request_is_refused_as_openai_does(database: Database) -> None:
    secret = Clients(database).make("ann", budget=Budget(requests_per_minute=1))

    async with guarded(database, ANSWER) as http:
        await http.post("/v1/chat/completions", json=BODY, headers=login(secret))
        answer = await http.post("/v1/chat/completions", json=BODY, headers=login(secret))

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"


async def test_beyond_the_dollars_a_request_is_refused_for_good(database: Database) -> None:
    secret = Clients(database).make("ann", budget=Budget(usd_total=0.00006))

    async with guarded(database, ANSWER) as http:
        await http.post("/v1/chat/completions", json=BODY, headers=login(secret))
        answer = await http.post("/v1/chat/completions", json=BODY, headers=login(secret))

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


UNKNOWN = {**BODY, "model": "claude-opus-9"}
FROM_UNKNOWN = [
    {"type": "message_start", "message": {"model": "claude-opus-9", "usage": {"input_tokens": 5}}},
    *ANSWER[1:],
]


@pytest.mark.parametrize("budget", [Budget(usd_per_day=1), Budget(usd_total=1)], ids=["a day", "in all"])
async def test_a_key_with_dollars_may_not_ask_a_model_whose_price_is_not_known(
    database: Database, budget: Budget
) -> None:
    secret = Clients(database).make("ann", budget=budget)

    async with guarded(database) as http:
        answer = await http.post("/v1/chat/completions", json=UNKNOWN, headers=login(secret))

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (403, "model", "price_unknown")
    assert "claude-opus-9" in error["message"] and "unknown_price_as" in error["message"]
    assert spent(database) == {}


async def test_with_unknown_price_as_the_key_may_use_the_model(database: Database) -> None:
    secret = Clients(database).make("ann", budget=Budget(usd_total=1))

    async with guarded(database, FROM_UNKNOWN, unknown_price_as="opus") as http:
        answer = await http.post("/v1/chat/completions", json=UNKNOWN, headers=login(secret))

    assert answer.status_code == 200
    (used,) = spent(database).values()
    assert (used.usd, used.usd_estimated, used.requests_unpriced) == (0.00006, 0.00006, 0)


async def test_a_key_without_dollars_may_ask_any_model_and_its_dollars_are_unknown(database: Database) -> None:
    secret = Clients(database).make("ann", budget=Budget(tokens_per_minute=1000))

    async with guarded(database, FROM_UNKNOWN) as http:
        answer = await http.post("/v1/chat/completions", json=UNKNOWN, headers=login(secret))

    assert answer.status_code == 200
    (used,) = spent(database).values()
    assert (used.tokens, used.usd, used.requests_unpriced) == (7, 0, 1)


async def test_an_unknown_answering_model_costs_the_price_of_the_requested_one(
    database: Database,
) -> None:
    secret = Clients(database).make("ann", budget=Budget(usd_total=1))

    async with guarded(database, FROM_UNKNOWN) as http:
        await http.post("/v1/chat/completions", json={**BODY, "model": "opus"}, headers=login(secret))

    (used,) = spent(database).values()
    assert (used.usd, used.usd_estimated, used.requests_unpriced) == (0.00006, 0.00006, 0)


async def test_a_failed_answer_costs_its_request_and_nothing_more(database: Database) -> None:
    secret = Clients(database).make("ann", budget=Budget(concurrent=1))

    async with guarded(database, [ClaudeError("overloaded_error")], ANSWER) as http:
        failed = await http.post("/v1/chat/completions", json=BODY, headers=login(secret))
        answer = await http.post("/v1/chat/completions", json=BODY, headers=login(secret))

    assert (failed.status_code, answer.status_code) == (503, 200)
    (used,) = spent(database).values()
    assert (used.requests, used.tokens) == (2, 7)


async def test_a_key_may_be_kept_to_some_models(database: Database) -> None:
    secret = Clients(database).make("ann", models=["gpt-4o-mini*"])

    async with guarded(database, ANSWER) as http:
        refused = await http.post("/v1/chat/completions", json=BODY, headers=login(secret))
        asked = {**BODY, "model": "gpt-4o-mini"}
        answered = await http.post("/v1/chat/completions", json=asked, headers=login(secret))

    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "model")
    assert answered.status_code == 200


async def test_when_keys_cannot_be_looked_up_nothing_is_answered(database: Database) -> None:
    secret = Clients(database).make("ann")

    async with guarded(database) as http:
        database.close()
        answer = await http.get("/v1/models", headers=login(secret))

    assert answer.status_code in (500, 503)


async def test_fifty_requests_at_once_do_not_each_spend_what_is_left(database: Database) -> None:
    # Each may cost a little more than 0.01: 1000 tokens at 10 USD for a million.
    secret = Clients(database).make("ann", budget=Budget(usd_total=0.025))
    gate = asyncio.Event()
    scripts = [[START, *text("a"), gate, END]] * 50

    async with guarded(database, *scripts) as http:

        async def ask() -> httpx.Response:
            body = {**BODY, "max_completion_tokens": 1000}
            answer = await http.post("/v1/chat/completions", json=body, headers=login(secret))
            if answer.status_code == 429:
                refused.append(answer)
                if len(refused) == 48:
                    gate.set()
            return answer

        refused: list[httpx.Response] = []
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*(ask() for _ in range(50)))

    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 48
    assert {answer.json()["error"]["code"] for answer in refused} == {"rate_limit_exceeded"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


async def test_the_oldest_path_cannot_name_a_model_that_a_key_may_not_use(database: Database) -> None:
    secret = Clients(database).make("ann", models=["gpt-4o-mini"])
    path = "/v1/engines/gpt-4o/completions"

    async with guarded(database) as http:
        answer = await http.post(path, json={"model": "gpt-4o-mini", "prompt": "a"}, headers=login(secret))

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_not_allowed")
