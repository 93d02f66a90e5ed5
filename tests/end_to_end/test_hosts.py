"""Whose traffic is decrypted, and where it goes."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.site import Site, fingerprint, issuer
from tests.end_to_end.tunnel import certificate
from tests.end_to_end.understudy import Proxy, clean_environment, serve

HELLO = [{"role": "user", "content": "Hello"}]
KEY = "Bearer sk-of-the-app"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site") as site:
        yield site


def client_of(proxy: Proxy) -> httpx.Client:
    """Return a client that trusts our authority alone."""
    return httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S, headers={"authorization": KEY})


def test_a_host_that_is_not_ours_shows_its_own_certificate(proxy: Proxy, site: Site) -> None:
    shown = certificate((proxy.host, proxy.port), "localhost", site.port)
    theirs = ssl.create_default_context(cafile=site.authority)
    with httpx.Client(proxy=proxy.url, verify=theirs, timeout=GUARD_S) as client:
        answer = client.get(f"https://localhost:{site.port}/v1/models")

    assert fingerprint(shown) == site.fingerprint
    assert answer.content == Site.ANSWER


def test_openais_host_shows_a_certificate_of_ours(proxy: Proxy) -> None:
    assert issuer(certificate((proxy.host, proxy.port), "api.openai.com")) == "Understudy"


def test_a_host_that_is_added_is_answered_by_claude_and_never_gets_a_packet(
    cloud: Cloud, home: Path, site: Site
) -> None:
    cloud.script(Reply(text="From Claude."))
    origin = f"https://localhost:{site.port}"

    with (
        serve(clean_environment(home, cloud.base_url), "--host", "*.example.test", "--host", "localhost") as proxy,
        client_of(proxy) as client,
    ):
        wild = issuer(certificate((proxy.host, proxy.port), "llm.eu.example.test"))
        answer = client.post(f"{origin}/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO})
        unsupported = client.post(f"{origin}/v1/moderations", json={"input": "x"})

    assert wild == "Understudy"
    assert answer.json()["choices"][0]["message"]["content"] == "From Claude."
    assert unsupported.status_code == 404
    assert site.connections == 0


def test_passthrough_sends_only_unsupported_paths_on_with_the_apps_own_key(
    cloud: Cloud, home: Path, site: Site
) -> None:
    cloud.script(Reply(text="From Claude."))
    origin = f"https://localhost:{site.port}"
    env = clean_environment(home, cloud.base_url, SSL_CERT_FILE=str(site.authority))

    with serve(env, "--host", "localhost", "--passthrough") as proxy, client_of(proxy) as client:
        answer = client.post(f"{origin}/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO})
        connections = site.connections
        passed = client.post(f"{origin}/v1/moderations?q=1", content=b'{"input": "x"}')

    assert answer.json()["choices"][0]["message"]["content"] == "From Claude."
    assert connections == 0
    assert passed.content == Site.ANSWER
    assert site.requests == [("POST", "/v1/moderations?q=1", KEY, b'{"input": "x"}')]


def test_a_path_that_is_not_supported_gets_openais_404_that_says_where_to_look(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client, pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="x")

    assert caught.value.code == "unknown_url"
    assert "POST /v1/moderations" in caught.value.message
    assert "GET /v1 lists what Understudy answers" in caught.value.message
    assert "Did you mean" not in caught.value.message
    assert cloud.turns == []
