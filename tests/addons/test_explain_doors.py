"""Whoever opens one of the proxy's addresses by hand is told what it is."""

import json
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow, tutils

from addons.explain_doors import ExplainDoors, ExplainOwnAddress, is_own_address
from addons.guard_base_url import REACHED_AS
from settings import Settings

REVERSE = "reverse:https://api.openai.com@127.0.0.1:8081"


def asked(
    host: str = "127.0.0.1",
    port: int = 8080,
    path: str = "/",
    *,
    method: str = "GET",
    mode: str = "regular@8080",
    sockname: tuple[str, int] = ("127.0.0.1", 8080),
    accept: str = "*/*",
    reached: str | None = None,
    **settings: Any,
) -> http.HTTPFlow:
    request = tutils.treq(method=method.encode(), scheme=b"http", host=host, port=port, path=path.encode())
    request.headers["accept"] = accept
    flow = tflow.tflow(req=request)
    flow.live = True
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.client_conn.sockname = sockname
    if reached is not None:
        flow.metadata[REACHED_AS] = reached
    ExplainOwnAddress(Settings(**settings)).requestheaders(flow)
    ExplainDoors(Settings(**settings)).request(flow)
    return flow


def told(flow: http.HTTPFlow) -> str:
    assert flow.response is not None
    assert flow.response.status_code == 200
    return flow.response.text or ""


def at_the_base_url_door(**more: Any) -> http.HTTPFlow:
    return asked("api.openai.com", 443, mode=REVERSE, sockname=("127.0.0.1", 8081), **more)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_proxys_own_address_says_that_it_is_a_proxy(host: str) -> None:
    text = told(asked(host))

    assert "is a proxy (HTTPS_PROXY=http://" in text
    assert "understudy run -- COMMAND" in text
    assert ":8080" in text


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("POST", "/")])
def test_a_program_that_takes_the_proxy_for_a_base_url_is_told_so(method: str, path: str) -> None:
    flow = asked(path=path, method=method)

    assert flow.response is not None
    error = flow.response.json()["error"]
    assert (flow.response.status_code, error["type"], error["code"]) == (
        421,
        "invalid_request_error",
        "misdirected_request",
    )
    assert "not a base URL" in error["message"]
    assert "--base-url" in error["message"]


def test_the_explanation_names_the_base_url() -> None:
    door = ("127.0.0.1", 8081)

    assert "set OPENAI_BASE_URL=http://127.0.0.1:8081/v1" in told(asked(base_url=door))
    refused = asked(method="POST", base_url=door).response
    assert refused is not None
    assert "set OPENAI_BASE_URL=http://127.0.0.1:8081/v1." in refused.json()["error"]["message"]
    assert "--base-url" not in told(asked(base_url=door))


@pytest.mark.parametrize(
    ("host", "port", "sockname", "own"),
    [
        ("127.0.0.1", 8080, ("127.0.0.1", 8080), True),
        ("192.168.1.7", 8080, ("192.168.1.7", 8080), True),
        ("localhost", 8080, ("192.168.1.7", 8080), True),
        ("127.0.0.1", 8081, ("127.0.0.1", 8080), False),
        ("192.168.1.8", 8080, ("192.168.1.7", 8080), False),
        ("example.com", 8080, ("127.0.0.1", 8080), False),
    ],
)
def test_which_address_is_the_proxys_own(host: str, port: int, sockname: tuple[str, int], own: bool) -> None:
    flow = asked(host, port, sockname=sockname)

    assert is_own_address(flow) is own
    assert (flow.response is not None) is own


def test_requests_for_other_programs_get_no_explanation() -> None:
    assert asked("example.com", 80).response is None
    assert asked("127.0.0.1", 8080, mode="socks5@8080").response is None


def test_the_base_url_door_says_what_to_set() -> None:
    text = told(at_the_base_url_door())

    assert "OPENAI_BASE_URL=http://127.0.0.1:8081/v1" in text
    assert "http://127.0.0.1:8081/understudy/status" in text


def test_the_base_url_door_names_itself_as_it_was_reached() -> None:
    assert "OPENAI_BASE_URL=http://box.lan:9000/v1" in told(at_the_base_url_door(reached="box.lan:9000"))


def test_a_browser_gets_a_page_in_which_nothing_can_be_put() -> None:
    flow = at_the_base_url_door(accept="text/html,application/xhtml+xml", reached="<script>alert(1)</script>")

    assert told(flow).startswith("<!doctype html>")
    assert "<script>" not in told(flow)
    assert flow.response is not None
    assert flow.response.headers["content-type"] == "text/html; charset=utf-8"


def test_a_client_that_accepts_json_gets_json() -> None:
    assert "base-URL door" in json.loads(told(at_the_base_url_door(accept="application/json")))["message"][0]


def test_head_has_no_body() -> None:
    assert told(at_the_base_url_door(method="HEAD")) == ""


def test_other_paths_of_the_base_url_door_are_the_origins() -> None:
    assert at_the_base_url_door(path="/v1/models").response is None
    assert at_the_base_url_door(method="POST").response is None


def test_the_root_of_a_host_that_we_stand_in_for() -> None:
    assert "stands in for api.openai.com" in told(asked("api.openai.com", 443))


def test_with_passthrough_the_root_of_a_host_is_the_hosts_own() -> None:
    assert asked("api.openai.com", 443, passthrough=True).response is None
    assert "base-URL door" in told(at_the_base_url_door(passthrough=True))


@pytest.mark.parametrize("flow", [asked, at_the_base_url_door], ids=["the proxy", "the base-URL door"])
def test_with_client_auth_the_page_only_says_that_a_key_is_needed(flow: Any) -> None:
    text = told(flow(client_auth=True))

    assert "who have a key" in text
    assert "status" not in text
    assert "understudy.local" not in text


def test_an_answer_of_another_addon_is_kept() -> None:
    flow = asked()
    refused = http.Response.make(403)
    flow.response = refused

    ExplainOwnAddress(Settings()).requestheaders(flow)
    ExplainDoors(Settings()).request(flow)

    assert flow.response is refused


@pytest.mark.parametrize(
    ("flow", "status"),
    [
        (asked(path="/favicon.ico"), 204),
        (at_the_base_url_door(path="/favicon.ico"), 204),
        (asked("api.openai.com", 443, "/favicon.ico"), 204),
        (asked("example.com", 443, "/favicon.ico"), None),
        (asked("api.openai.com", 443, "/favicon.ico", passthrough=True), None),
    ],
)
def test_a_browser_that_asks_for_an_icon_has_not_failed(flow: http.HTTPFlow, status: int | None) -> None:
    assert (flow.response.status_code if flow.response else None) == status
