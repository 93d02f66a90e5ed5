"""The CONNECT door asks for a key, and tells nobody which there are."""

import base64

import pytest
from mitmproxy.test import tflow

from addons.proxy_login import ProxyLogin, password_in
from api.access import Access


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "password"),
    [
        (basic("me:sk-understudy-x"), "sk-understudy-x"),
        (basic(":x"), "x"),
        (basic("me:with:colons"), "with:colons"),
        (basic("no colon"), ""),
        ("Basic !!!", ""),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), ""),
        ("Bearer x", ""),
        ("", ""),
    ],
)
def test_the_key_is_the_logins_password(header: str, password: str) -> None:
    assert password_in(header) == password


@pytest.mark.anyio
async def test_if_keys_cannot_be_checked_every_login_is_refused() -> None:
    async def access() -> Access | None:
        raise RuntimeError("the origin has not started")

    asked = tflow.tflow()
    asked.request.headers["proxy-authorization"] = basic("me:a key")

    await ProxyLogin(access).http_connect(asked)

    assert asked.response is not None
    assert asked.response.status_code == 407
