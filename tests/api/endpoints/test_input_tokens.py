"""Counting the input of a response: exactly where that is possible, else by an estimate that says so."""

from pathlib import Path
from typing import Any

import pytest

from api.access import Access
from auth.keys.budgets import Budgets, spent
from auth.keys.clients import Clients
from auth.keys.limits import Budget
from engine import ClaudeError
from storage.database import Database
from tests.api.scripted import END, START, Scripted, client, text
from tests.openai_document import problems
from translate.turn import Turn

pytestmark = pytest.mark.anyio

PATH = "/v1/responses/input_tokens"
BODY: dict[str, Any] = {"model": "gpt-5", "input": "hi"}


async def test_a_count_is_exact_where_the_credentials_may_count() -> None:
    turns: list[Turn] = []

    async def count(turn: Turn) -> int:
        turns.append(turn)
        return 12

    engine = Scripted()
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}]
    async with client(engine, count_tokens=count) as http:
        answer = await http.post(PATH, json={**BODY, "instructions": "Be brief.", "tools": tools})

    assert (answer.status_code, answer.json()) == (200, {"object": "response.input_tokens", "input_tokens": 12})
    assert "x-understudy-estimate" not in answer.headers
    assert "x-understudy-process" not in answer.headers
    assert engine.turns == []
    (turn,) = turns
    assert (turn.system, turn.messages[0].content[0]["text"]) == ("Be brief.", "hi")
    assert turn.tools[0]["name"] == "look"


async def test_elsewhere_it_is_an_estimate_that_says_so() -> None:
    async def nothing(turn: Turn) -> None:
        return None

    for fields in ({}, {"count_tokens": nothing}):
        async with client(Scripted(), **fields) as http:
            short = await http.post(PATH, json=BODY)
            long = await http.post(PATH, json={**BODY, "input": "hello " * 300})
        assert short.headers["x-understudy-estimate"] == "input_tokens"
        assert 0 < short.json()["input_tokens"] < long.json()["input_tokens"]
        assert 300 <= long.json()["input_tokens"] <= 900


async def test_the_conversation_before_counts_as_well() -> None:
    async with client(Scripted([START, *text("Hello. " * 50), END])) as http:
        alone = (await http.post(PATH, json=BODY)).json()["input_tokens"]
        first = (await http.post("/v1/responses", json=BODY)).json()
        both = await http.post(PATH, json={**BODY, "previous_response_id": first["id"]})

    assert both.json()["input_tokens"] > alone + 50


async def test_what_openai_does_not_ask_for_is_not_asked_for() -> None:
    async with client(Scripted()) as http:
        answer = await http.post(PATH, json={"model": None, "input": "hi", "personality": "friendly"})

    assert answer.status_code == 200
    assert answer.headers["x-understudy-ignored"] == "personality"


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": 5},
        {"input": [{"type": "nonsense"}]},
        {"previous_response_id": "resp_unknown"},
        {"input": None},
        {"nonsense": 1},
        {"tools": [{"type": "code_interpreter", "container": "x"}]},
    ],
)
async def test_bad_input_is_refused_as_for_a_response(wrong: dict[str, Any]) -> None:
    async with client(Scripted()) as http:
        counted = await http.post(PATH, json={**BODY, **wrong})
        asked = await http.post("/v1/responses", json={**BODY, **wrong})

    assert counted.status_code == asked.status_code == 400
    assert counted.json() == asked.json()


async def test_what_the_api_refuses_is_refused() -> None:
    async def refuse(turn: Turn) -> int:
        raise ClaudeError("invalid_request_error", reason="tools: Field required.")

    async with client(Scripted(), count_tokens=refuse) as http:
        answer = await http.post(PATH, json=BODY)

    assert answer.status_code == 400
    assert "tools: Field required." in answer.json()["error"]["message"]


async def test_a_key_counts_within_its_rate_and_pays_nothing(tmp_path: Path) -> None:
    with Database.open(tmp_path / "store.db") as database:
        secret = Clients(database).make("ann", budget=Budget(requests_per_minute=1), models=("gpt-5",))
        async with (
            Budgets(database) as budgets,
            client(Scripted(), access=Access(Clients(database), budgets)) as http,
        ):
            login = {"authorization": f"Bearer {secret}"}
            other = await http.post(PATH, json={**BODY, "model": "o3"}, headers=login)
            first = await http.post(PATH, json=BODY, headers=login)
            second = await http.post(PATH, json=BODY, headers=login)
            nobody = await http.post(PATH, json=BODY)
        (used,) = spent(database).values()

    assert [one.status_code for one in (other, first, second, nobody)] == [403, 200, 429, 401]
    assert (used.tokens, used.usd) == (0, 0)


async def test_the_answer_is_as_openais_document_says() -> None:
    async with client(Scripted()) as http:
        answer = await http.post(PATH, json=BODY)

    assert problems("TokenCountsResource", answer.json()) == []
