"""Which hosts are ours."""

import re

import pytest

from addons.hosts import as_regex, is_this_machine, matches


@pytest.mark.parametrize(
    ("host", "pattern", "ours"),
    [
        ("api.openai.com", "api.openai.com", True),
        ("API.OpenAI.com", "api.openai.com", True),
        ("api.openai.com.", "api.openai.com", True),
        ("xapi.openai.com", "api.openai.com", False),
        ("api.openai.com.evil.example", "api.openai.com", False),
        ("apixopenai.com", "api.openai.com", False),
        ("my.openai.azure.com", "*.openai.azure.com", True),
        ("a.b.openai.azure.com", "*.openai.azure.com", True),
        ("openai.azure.com", "*.openai.azure.com", False),
    ],
)
def test_the_proxy_and_the_addon_agree_on_what_is_ours(host: str, pattern: str, ours: bool) -> None:
    assert matches(host, [pattern]) is ours
    assert bool(re.search(as_regex(pattern), f"{host}:443", re.IGNORECASE)) is ours


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("tauri.localhost", True),
        ("TAURI.LocalHost.", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("192.168.1.7", False),
        ("localhost.example", False),
        ("mylocalhost", False),
        ("", False),
    ],
)
def test_names_below_localhost_are_this_machine(host: str, here: bool) -> None:
    assert is_this_machine(host) is here
