"""Routes, and what becomes of requests that have none."""

import pytest

from api.app import TOKEN_HEADER, Route, supports, with_version
from api.routes import ROUTES
from engine import ClaudeError
from engine.retry import Retrying
from tests.api.scripted import Scripted, client

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


async def test_of_a_path_that_is_endless_only_the_beginning_is_repeated() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/" + "x" * 5000)

    assert answer.status_code == 404
    assert len(answer.json()["error"]["message"]) < 500


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_openai_has_in_the_place_of_an_id_is_no_id(method: str) -> None:
    async with client(Scripted()) as http:
        answer = await http.request(method, "/v1/responses/input_tokens")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


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


async def test_what_the_server_refuses_is_in_openais_shape() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/chat/completions", content=b"x" * 100_001)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_two_stars_take_what_follows_and_one_takes_a_segment() -> None:
    models = Route("GET", "/v1/models/**", ROUTES[0].endpoint)
    items = Route("GET", "/v1/conversations/*/items/*", ROUTES[0].endpoint)

    assert models.fits("/v1/models/a/b") and models.fits("/v1/models/a")
    assert not models.fits("/v1/models/")
    assert items.fits("/v1/conversations/c/items/i") and items.fits("/v1/conversations/c/items/i/")
    for path in ("/v1/conversations//items/i", "/v1/conversations/c/items", "/v1/conversations/c/items/i/j"):
        assert not items.fits(path)


def test_paths_are_supported_whatever_the_method() -> None:
    assert supports(ROUTES, "/v1/chat/completions/")
    assert not supports(ROUTES, "/v1/embeddings")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"),
        ("/models/a/b", "/v1/models/a/b"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/health", "/health"),
        ("/embeddings", "/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/", "/"),
    ],
)
def test_a_path_without_its_version_gets_it_where_that_makes_a_route(asked: str, answered: str) -> None:
    assert with_version(ROUTES, asked) == answered


async def test_the_log_knows_a_request_by_the_id_that_its_app_has(caplog: pytest.LogCaptureFixture) -> None:
    engine = Retrying(Scripted([ClaudeError("request_too_large")], [ClaudeError("request_too_large")]))
    asking = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    async with client(engine) as http:
        answers = [await http.post("/v1/chat/completions", json=asking) for _ in range(2)]

    ids = [answer.headers["x-request-id"] for answer in answers]
    told = [line for line in caplog.messages if line.startswith("Claude's side failed")]
    assert [f"(request {id}, " in line for id, line in zip(ids, told, strict=True)] == [True, True]
    assert ids[0] != ids[1]
