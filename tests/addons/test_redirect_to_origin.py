"""Requests for OpenAI's hosts go to the origin, and look as if they had gone to OpenAI's."""

import pytest
from mitmproxy.flow import Error
from mitmproxy.http import HTTPFlow
from mitmproxy.test import tflow, tutils

from addons.redirect_to_origin import RedirectToOrigin
from api.access import KEY_HEADER
from api.app import TOKEN_HEADER
from settings import Settings

pytestmark = pytest.mark.anyio

ADDRESSES = [("127.0.0.1", 1001), ("127.0.0.1", 1002)]


class Origin:
    """Where the origin would be."""

    token = "the-token"

    async def addresses(self) -> list[tuple[str, int]]:
        return ADDRESSES


def flow(host: str = "api.openai.com", path: str = "/v1/chat/completions") -> HTTPFlow:
    request = tutils.treq(scheme=b"https", host=host, port=443, path=path.encode())
    request.headers["host"] = host
    result = tflow.tflow(req=request)
    result.live = True
    return result


def place(of: HTTPFlow) -> tuple[str, str, int]:
    return of.request.scheme, of.request.host, of.request.port


def addon(passthrough: bool = False) -> RedirectToOrigin:
    return RedirectToOrigin(Settings(passthrough=passthrough), Origin())


async def test_a_request_for_openai_goes_to_the_origin_with_the_token() -> None:
    asked = flow()

    await addon().request(asked)

    assert place(asked) == ("http", "127.0.0.1", 1001)
    assert asked.request.headers[TOKEN_HEADER] == "the-token"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (flow(), "the-key"),
        (flow("example.com"), None),
        (flow(path="/v1/embeddings"), None),
    ],
    ids=["ours", "another host", "passed through"],
)
async def test_the_key_that_a_client_logged_in_with_is_shown_to_the_origin_alone(
    asked: HTTPFlow, shown: str | None
) -> None:
    asked.request.headers[KEY_HEADER] = "the-key"

    await addon(passthrough=True).request(asked)

    assert asked.request.headers.get(KEY_HEADER) == shown


@pytest.mark.parametrize("hook", ["response", "error"])
async def test_when_it_is_over_the_flow_shows_the_real_address(hook: str) -> None:
    asked, redirect = flow(), addon()
    await redirect.request(asked)
    asked.error = Error("gone") if hook == "error" else None

    getattr(redirect, hook)(asked)

    assert place(asked) == ("https", "api.openai.com", 443)
    assert asked.request.headers["host"] == "api.openai.com"
    assert TOKEN_HEADER not in asked.request.headers


async def test_the_origins_ports_are_taken_in_turn() -> None:
    redirect, flows = addon(), [flow() for _ in range(3)]

    for asked in flows:
        await redirect.request(asked)

    assert [asked.request.port for asked in flows] == [1001, 1002, 1001]


async def test_without_an_origin_nothing_goes_to_the_real_host_instead() -> None:
    class NeverStarted(Origin):
        async def addresses(self) -> list[tuple[str, int]]:
            raise RuntimeError("the reason")

    asked = flow()

    await RedirectToOrigin(Settings(), NeverStarted()).request(asked)

    assert asked.response is not None
    assert asked.response.status_code == 503
    assert "could not be started" in asked.response.json()["error"]["message"]


async def test_other_hosts_are_left_alone() -> None:
    asked = flow("example.com")

    await addon().request(asked)

    assert place(asked) == ("https", "example.com", 443)


async def test_a_flow_that_another_addon_answered_is_left_alone() -> None:
    asked = flow()
    asked.response = tutils.tresp()

    await addon().request(asked)

    assert asked.request.host == "api.openai.com"


@pytest.mark.parametrize(
    ("path", "passed"),
    [("/v1/embeddings", True), ("/v1/chat/completions?x=1", False), ("/v1/models/gpt-4o", False)],
)
async def test_passthrough_lets_paths_through_that_we_do_not_answer(path: str, passed: bool) -> None:
    asked = flow(path=path)

    await addon(passthrough=True).request(asked)

    assert (asked.request.host == "api.openai.com") is passed


@pytest.mark.parametrize(("key", "passed"), [("the-key", True), (None, False)], ids=["logged in", "key not looked at"])
async def test_with_client_auth_only_requests_with_a_login_are_passed_through(key: str | None, passed: bool) -> None:
    redirect = RedirectToOrigin(Settings(passthrough=True, client_auth=True), Origin())
    asked = flow(path="/v1/embeddings")
    asked.request.headers["authorization"] = "Bearer sk-understudy-0123456789abcdef-x"
    if key is not None:
        asked.request.headers[KEY_HEADER] = key

    await redirect.request(asked)

    assert (asked.request.host == "api.openai.com") is passed


async def test_a_flow_that_was_never_ours_is_not_restored() -> None:
    asked = flow("example.com")

    addon().response(asked)

    assert place(asked) == ("https", "example.com", 443)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/models?limit=2", "/v1/models?limit=2"),
        ("/v1/responses", "/v1/responses"),
        ("/embeddings", "/embeddings"),
    ],
)
async def test_a_path_without_its_version_is_completed_and_stays_so(asked: str, answered: str) -> None:
    asking, redirect = flow(path=asked), addon()

    await redirect.request(asking)
    redirect.response(asking)

    assert asking.request.path == answered


async def test_a_path_without_its_version_is_ours_where_others_are_passed_through() -> None:
    asked = flow(path="/chat/completions?x=1")

    await addon(passthrough=True).request(asked)

    assert asked.request.host != "api.openai.com"


async def test_another_hosts_path_is_not_completed() -> None:
    asked = flow("example.com", path="/models")

    await addon().request(asked)

    assert asked.request.path == "/models"


async def test_the_log_says_once_that_a_version_lacks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "understudy")
    redirect = addon()

    for _ in range(2):
        await redirect.request(flow(path="/chat/completions"))

    assert [record.getMessage() for record in caplog.records] == [
        "an app's base URL does not end in /v1: /chat/completions is answered as /v1/chat/completions"
    ]
