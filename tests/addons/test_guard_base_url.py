"""Web pages have no use of the base-URL door, unless they may."""

from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow, tutils

from addons.guard_base_url import GuardBaseUrl
from settings import Settings

REVERSE = "reverse:https://api.openai.com@127.0.0.1:8081"


def asked(
    host: str = "127.0.0.1:8081",
    origin: str | None = None,
    *,
    mode: str = REVERSE,
    keep: bool = True,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> http.HTTPFlow:
    request = tutils.treq(method=method.encode(), host="api.openai.com", port=443, scheme=b"https")
    flow = tflow.tflow(req=request)
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.request.headers["host"] = host
    for name, value in (headers or {}).items():
        flow.request.headers[name] = value
    if origin is not None:
        flow.request.headers["origin"] = origin
    guard = GuardBaseUrl(Settings(**settings))
    with taddons.context(guard) as context:  # type: ignore[no-untyped-call]
        context.options.add_option("keep_host_header", bool, keep, "")
        context.options.keep_host_header = keep
        guard.requestheaders(flow)
    return flow


def status(flow: http.HTTPFlow) -> int | None:
    return flow.response.status_code if flow.response else None


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("127.0.0.1:8081", False),
        ("[::1]:8081", False),
        ("192.168.1.7", False),
        ("localhost:8081", False),
        ("app.localhost", False),
        ("LOCALHOST.:8081", False),
        ("host.docker.internal:8081", False),
        ("understudy.lan", False),
        ("evil.example:8081", True),
        ("localhost.evil.example", True),
        ("127.0.0.1.evil.example", True),
        ("", True),
        ("[", True),
    ],
)
def test_the_door_is_reached_by_its_own_names_alone(host: str, refused: bool) -> None:
    flow = asked(host, base_url_hosts=("understudy.lan",))

    assert (status(flow) == 403) == refused
    assert refused or flow.request.host_header == "api.openai.com"


@pytest.mark.parametrize(
    ("origin", "refused"),
    [
        (None, False),
        ("http://localhost:3000", False),
        ("http://127.0.0.1:8888", False),
        ("https://app.example", False),
        ("app://obsidian.md", False),
        ("chrome-extension://abc", False),
        ("https://evil.example", True),
        ("https://app.example.evil.example", True),
        ("https://localhost.evil.example", True),
        ("null", True),
        ("", True),
        ("http://[", True),
    ],
)
def test_only_pages_of_this_machine_and_those_that_may_use_it(origin: str | None, refused: bool) -> None:
    assert (status(asked(origin=origin, origins=("https://app.example",))) == 403) == refused


def test_a_client_with_a_key_may_use_any_host_name() -> None:
    assert status(asked("evil.example", "https://evil.example", client_auth=True)) is None


def test_all_pages_may_if_the_operator_says_so() -> None:
    assert status(asked(origin="https://any.example", origins=("*",))) is None


def test_through_the_other_doors_no_page_comes() -> None:
    assert status(asked("evil.example", "https://evil.example", mode="regular@8080")) is None


def test_a_door_that_replaces_the_host_header_does_not_check_it() -> None:
    assert status(asked("evil.example", keep=False)) is None


def test_a_browser_that_asks_first_is_told_yes() -> None:
    wish = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    wish["access-control-request-private-network"] = "true"
    flow = asked(origin="http://localhost:3000", method="OPTIONS", headers=wish)

    assert flow.response is not None
    headers = flow.response.headers
    assert flow.response.status_code == 204
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert headers["access-control-allow-headers"] == "authorization"
    assert headers["access-control-allow-private-network"] == "true"
    assert status(asked(origin="https://evil.example", method="OPTIONS", headers=wish)) == 403


def test_a_page_that_may_use_the_door_can_read_the_answer() -> None:
    flow = asked(origin="http://localhost:3000")
    flow.response = http.Response.make(200)
    GuardBaseUrl(Settings()).responseheaders(flow)

    assert flow.response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert flow.response.headers["vary"] == "origin"
