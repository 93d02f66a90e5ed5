"""Web pages have no use of the proxy's own page."""

from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow, tutils

from addons.guard_own_page import GuardOwnPage
from settings import Settings


def asked(
    headers: dict[str, str] | None = None,
    *,
    address: tuple[str, int] = ("understudy.local", 80),
    host: str = "understudy.local",
    method: str = "POST",
    **settings: Any,
) -> http.HTTPFlow:
    request = tutils.treq(method=method.encode(), scheme=b"http", host=address[0], port=address[1])
    flow = tflow.tflow(req=request)
    flow.request.headers["host"] = host
    for name, value in (headers or {}).items():
        flow.request.headers[name] = value
    GuardOwnPage(Settings(**settings)).request(flow)
    return flow


def refused(flow: http.HTTPFlow) -> bool:
    return flow.response is not None and flow.response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "is_refused"),
    [
        ("http://localhost:3000", False),
        ("https://app.example", False),
        ("https://evil.example", True),
        ("http://understudy.local", True),
        ("null", True),
    ],
)
def test_only_pages_of_this_machine_and_those_that_are_allowed(origin: str, is_refused: bool) -> None:
    assert refused(asked({"origin": origin}, origins=("https://app.example",))) == is_refused


def test_a_key_lets_no_page_in() -> None:
    assert refused(asked({"origin": "https://evil.example"}, client_auth=True))


def test_a_program_tells_no_origin() -> None:
    assert asked().response is None


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("understudy.local", 8080), "understudy.local:8080"),
        (("127.0.0.1", 8080), "understudy.local"),
        (("evil.example", 80), "understudy.local"),
        (("api.openai.com", 443), "understudy.local"),
        (("understudy.local", 80), "understudy.local:8080"),
    ],
)
def test_the_page_is_refused_under_another_name_or_address(address: tuple[str, int], host: str) -> None:
    assert refused(asked(address=address, host=host, method="GET"))


def test_a_picture_on_another_sites_page_does_not_ask_for_it() -> None:
    picture = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

    assert refused(asked(picture, method="GET"))
    assert not refused(asked(link, method="GET"))
    assert refused(asked(link, method="POST"))
    assert not refused(asked({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, method="GET"))


def test_a_page_that_may_ask_can_read_the_answer() -> None:
    flow = asked({"origin": "http://localhost:3000"})
    flow.response = http.Response.make(200)
    GuardOwnPage(Settings()).responseheaders(flow)

    assert flow.response.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_other_hosts_are_not_looked_at() -> None:
    flow = asked({"origin": "https://evil.example"}, address=("api.openai.com", 443), host="api.openai.com")

    assert flow.response is None
