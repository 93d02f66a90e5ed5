"""A proxy for others: keys at every door."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment, serve

QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
ENDPOINT = "https://api.openai.com/v1/chat/completions"


def understudy(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UNDERSTUDY, *arguments], env=env, capture_output=True, text=True, timeout=GUARD_S)


@pytest.fixture(scope="module")
def env(the_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return clean_environment(tmp_path_factory.mktemp("for-others"), the_cloud.base_url)


@pytest.fixture(scope="module")
def key(env: dict[str, str]) -> str:
    made = understudy(env, "keys", "make", "ann", "--requests-per-minute", "50")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def guarded(env: dict[str, str], key: str) -> Iterator[Proxy]:
    with serve(env, "--base-url", "127.0.0.1:0", "--client-auth") as proxy:
        yield proxy


def through(proxy: Proxy, password: str | None) -> httpx.Client:
    url = proxy.url if password is None else proxy.url.replace("://", f"://me:{password}@")
    return httpx.Client(proxy=url, verify=proxy.tls(), timeout=GUARD_S)


def test_with_a_key_for_a_password_the_proxy_answers_whatever_the_apps_own_key_is(
    guarded: Proxy, cloud: Cloud, key: str
) -> None:
    cloud.script(Reply(text="Hello, Ann."))

    with through(guarded, key) as client:
        answer = client.post(ENDPOINT, json=QUESTION, headers={"authorization": "Bearer sk-the-apps-own"})

    assert answer.json()["choices"][0]["message"]["content"] == "Hello, Ann."
    assert answer.headers["x-ratelimit-limit-requests"] == "50"


@pytest.mark.parametrize(
    "password", [None, "wrong", "sk-understudy-0123456789abcdef-" + "x" * 43], ids=["none", "wrong", "nobody's"]
)
def test_without_one_not_even_a_tunnel_is_opened(guarded: Proxy, cloud: Cloud, password: str | None) -> None:
    with through(guarded, password) as client, pytest.raises(httpx.ProxyError, match="407"):
        client.post(ENDPOINT, json=QUESTION)

    assert cloud.turns == []


def test_the_base_url_door_takes_the_key_where_openais_would_be(guarded: Proxy, cloud: Cloud, key: str) -> None:
    cloud.script(Reply(text="Hello."))
    base_url = guarded.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)")[1]

    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        completion = client.chat.completions.create(**QUESTION)
    with (
        openai.OpenAI(base_url=base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(**QUESTION)

    assert completion.choices[0].message.content == "Hello."
    assert caught.value.code == "invalid_api_key"
    assert len(cloud.turns) == 1


def test_the_state_is_shown_to_those_with_a_key_alone(guarded: Proxy, key: str) -> None:
    with through(guarded, key) as client:
        shown = client.get("http://understudy.local/")
    with through(guarded, None) as client:
        hidden = client.get("http://understudy.local/")

    assert shown.json()["limit"] >= 1
    assert hidden.status_code == 407


def test_each_door_says_to_strangers_only_that_a_key_is_needed(guarded: Proxy) -> None:
    door = guarded.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+)/v1")[1]

    own, base_url, endpoints = (httpx.get(url) for url in (f"{guarded.url}/", f"{door}/", f"{door}/v1"))

    assert own.text == "This is Understudy. It answers those who have a key. Its operator gives out keys.\n"
    assert base_url.text.startswith(own.text.strip())
    assert endpoints.status_code == 401
    assert "completions" not in endpoints.text


def test_a_key_is_shown_once_and_never_again(env: dict[str, str], guarded: Proxy, key: str, cloud: Cloud) -> None:
    listed = understudy(env, "keys", "list", "--json")

    assert [row["name"] for row in json.loads(listed.stdout)] == ["ann"]
    assert key not in listed.stdout + guarded.err.text
    for path in Path(env["UNDERSTUDY_DATA_DIR"]).rglob("*"):
        if path.is_file():
            assert key[-16:].encode() not in path.read_bytes()


def test_listening_for_others_without_keys_is_refused(env: dict[str, str]) -> None:
    refused = understudy(env, "serve", "--listen", "0.0.0.0:0")

    assert refused.returncode == 2
    assert "--client-auth" in refused.stderr and "understudy keys make" in refused.stderr
