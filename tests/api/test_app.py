"""Routes, and what becomes of requests that have none."""

import asyncio
import importlib
import threading
from typing import Any

import pytest

from api.app import TOKEN_HEADER, chain, steps
from api.routes import ROUTES
from engine import ClaudeError
from engine.retry import Retrying
from tests.api.scripted import END, START, Scripted, client, parts, text
from translate.chat.request import translate_request

pytestmark = pytest.mark.anyio


async def test_an_unknown_path_is_told_in_one_line_where_to_find_what_there_is() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/embeddings", json={})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (404, "invalid_request_error", "unknown_url")
    assert error["message"] == (
        "Unknown request URL: POST /v1/embeddings. GET /v1 lists what Understudy answers."
        " Start it with --passthrough to send other paths on to the real host."
    )


@pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "/v1/chat/completion", "/api/chat/completions"])
async def test_a_path_that_is_nearly_right_is_told_the_right_one(path: str) -> None:
    async with client(Scripted()) as http:
        answer = await http.post(path, json={})

    assert answer.status_code == 404
    assert f"POST {path}. Did you mean /v1/chat/completions? " in answer.json()["error"]["message"]


async def test_the_404_repeats_only_the_beginning_of_a_long_path() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/" + "x" * 5000)

    assert answer.status_code == 404
    assert len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "", 405, "method_not_allowed"),
        ("DELETE", "", 405, "method_not_allowed"),
        ("POST", "/cancel", 404, "unknown_url"),
    ],
)
async def test_an_openai_path_below_responses_is_not_taken_for_an_id(
    method: str, path: str, status: int, code: str
) -> None:
    async with client(Scripted()) as http:
        answer = await http.request(method, f"/v1/responses/input_tokens{path}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_method_that_a_path_does_not_take_is_told_which_it_takes() -> None:
    async with client(Scripted()) as http:
        answer = await http.put("/v1/chat/completions")

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 403), ({TOKEN_HEADER: b"no"}, 403), ({TOKEN_HEADER: b"\xff"}, 403), ({TOKEN_HEADER: b"yes"}, 200)],
)
async def test_only_the_proxy_may_ask(headers: dict[str, bytes], status: int) -> None:
    async with client(Scripted(), token="yes") as http:
        answer = await http.get("/v1/models", headers=[(name.encode(), value) for name, value in headers.items()])

    assert answer.status_code == status


async def test_an_error_of_the_http_server_has_openais_shape() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/chat/completions", content=b"x" * 100_001)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_the_log_knows_a_request_by_the_id_that_its_app_has(caplog: pytest.LogCaptureFixture) -> None:
    engine = Retrying(Scripted([ClaudeError("request_too_large")], [ClaudeError("request_too_large")]))
    asking = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    async with client(engine) as http:
        answers = [await http.post("/v1/chat/completions", json=asking) for _ in range(2)]

    ids = [answer.headers["x-request-id"] for answer in answers]
    told = [line for line in caplog.messages if line.startswith("Claude's side failed")]
    assert [f"(request {id}, " in line for id, line in zip(ids, told, strict=True)] == [True, True]
    assert ids[0] != ids[1]


def names_of(steps: list[Any]) -> list[str]:
    return [getattr(step, "func", step).__name__ for step in steps]


def test_the_steps_are_in_their_order_and_there_only_if_they_are_needed() -> None:
    always = [
        *("with_request_id", "errors_as_answers", "only_the_proxy", "not_while_ending"),
        *("with_plain_body", "with_route", "decoded", "with_agent", "metered"),
    ]
    access: Any = object()

    assert names_of(steps(parts(Scripted()), ROUTES)) == always
    assert names_of(steps(parts(Scripted(), access=access, replay=lambda live: live), ROUTES)) == [
        *always[:4],
        *("with_key", "with_plain_body", "from_cassette"),
        *always[5:],
    ]


async def test_each_step_passes_the_call_on_to_the_next() -> None:
    told: list[str] = []

    def noting(name: str) -> Any:
        async def step(call: Any, proceed: Any) -> None:
            told.append(name)
            await proceed([*call, name])

        return step

    async def last(call: Any) -> None:
        told.append(f"the endpoint, with {call}")

    await chain([noting("a"), noting("b")], last)([])  # type: ignore[arg-type]

    assert told == ["a", "b", "the endpoint, with ['a', 'b']"]


async def test_a_proxy_that_is_ending_refuses_new_requests() -> None:
    async with client(Scripted(), is_ending=lambda: True) as http:
        answer = await http.get("/health")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


MANY_MESSAGES = [{"role": "user", "content": "a" * 30}] * 1500
LONG_WORK = [
    ("/v1/chat/completions", {"messages": MANY_MESSAGES}, "api.request.decode_object"),
    ("/v1/chat/completions", {"messages": MANY_MESSAGES}, "api.endpoints.chat_completions.translate_request"),
    ("/v1/chat/completions", {"messages": MANY_MESSAGES}, "api.images._has_inline"),
    ("/v1/responses", {"input": MANY_MESSAGES}, "api.endpoints.responses.read_request"),
    ("/v1/responses", {"input": MANY_MESSAGES}, "api.endpoints.responses.needed"),
    ("/v1/responses", {"input": MANY_MESSAGES}, "api.endpoints.responses.translate_response_request"),
]


@pytest.mark.parametrize(("path", "fields", "name"), LONG_WORK, ids=[name for *_, name in LONG_WORK])
async def test_the_loop_goes_on_while_a_large_request_is_prepared(
    path: str, fields: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, attribute = name.rpartition(".")
    real = getattr(importlib.import_module(module), attribute)
    begun, enough, went_on = threading.Event(), threading.Event(), list[bool]()

    def slow(*arguments: Any, **options: Any) -> Any:
        begun.set()
        went_on.append(enough.wait(20))
        return real(*arguments, **options)

    async def tick() -> None:
        ticks = 0
        while ticks < 50:
            ticks += begun.is_set()
            await asyncio.sleep(0)
        enough.set()

    monkeypatch.setattr(name, slow)
    async with client(Scripted([START, *text("Hello."), END])) as http:
        ticking = asyncio.create_task(tick())
        answer = await http.post(path, json={"model": "gpt-4o", **fields})
        await ticking

    assert answer.status_code == 200
    assert went_on == [True]


async def test_a_small_request_is_prepared_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noting(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.get_ident())
        return translate_request(*arguments, **options)

    monkeypatch.setattr("api.endpoints.chat_completions.translate_request", noting)
    async with client(Scripted([START, *text("Hello."), END])) as http:
        await http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": MANY_MESSAGES[:10]})

    assert threads == [threading.get_ident()]


async def test_an_error_in_a_large_request_is_told_as_in_a_small_one() -> None:
    messages = [*MANY_MESSAGES, {"role": "nobody", "content": "a"}]
    async with client(Scripted([START, *text("Hello."), END])) as http:
        wrong = await http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": messages})
        broken = await http.post("/v1/chat/completions", content=b'{"messages": ["' + b"a" * 80_000)

    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages[1500].role")
    assert broken.status_code == 400
    assert "could not parse the JSON body" in broken.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models", None, 200),
        ("GET", "/v1/nothing", None, 404),
        ("GET", "/v1/chat/completions/chatcmpl-1", None, 404),
        ("POST", "/v1/chat/completions", {"model": "gpt-4o"}, 400),
        ("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}, 502),
        ("POST", "/v1/responses", {"model": "gpt-4o", "input": "Hi"}, 502),
    ],
)
async def test_every_answer_has_openais_own_headers(method: str, path: str, body: Any, status: int) -> None:
    async with client(Scripted([ClaudeError("stream_error")])) as http:
        answer = await http.request(method, path, json=body)

    assert answer.status_code == status
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["openai-version"] == "2020-10-01"
    assert answer.headers["openai-processing-ms"].isdigit()
