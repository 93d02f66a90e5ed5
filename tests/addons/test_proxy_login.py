"""The CONNECT door asks for a key, and tells nobody which there are."""

import base64

import pytest

from addons.proxy_login import password_in


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
