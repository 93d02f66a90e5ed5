"""Which hosts are ours."""

import re

import pytest

from addons.hosts import as_regex, matches


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
