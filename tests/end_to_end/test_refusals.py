"""Requests that are refused on the wire, before Claude is asked; and the models that may be asked for."""

import json
from typing import Any

import httpx
import openai
import pytest

from rehearsal import Reply
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.understudy import Proxy

ENDPOINT = "https://api.openai.com/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]

REFUSED: dict[str, tuple[bytes, str | None]] = {
    # what is wrong: the body, and `param` in the answer
    "no JSON": (b'{"model": "gpt-4o", ', None),
    "no bytes at all": (b"", None),
    "no object": (b"[]", None),
    "no messages": (b'{"model": "gpt-4o"}', "messages"),
    "empty messages": (b'{"model": "gpt-4o", "messages": []}', "messages"),
    "a role that is none": (
        b'{"model": "gpt-4o", "messages": [{"role": "narrator", "content": "x"}]}',
        "messages[0].role",
    ),
    "content of a wrong type": (
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 7}]}',
        "messages[1].content",
    ),
    "a number in quotes": (
        json.dumps({"model": "gpt-4o", "messages": HELLO, "max_tokens": "5"}).encode(),
        "max_tokens",
    ),
    "an unknown parameter": (json.dumps({"model": "gpt-4o", "messages": HELLO, "colour": "red"}).encode(), "colour"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_malformed_request_is_a_400_that_says_where(what: str, proxy: Proxy, cloud: Cloud) -> None:
    body, param = REFUSED[what]

    with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
        answer = client.post(ENDPOINT, content=body, headers={"content-type": "application/json"})

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert cloud.turns == []


def test_openais_client_raises_bad_request_with_the_parameter(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HELLO, logit_bias={"50256": -100})

    assert (caught.value.param, caught.value.code) == ("logit_bias", "unsupported_parameter")
    assert cloud.turns == []


def test_a_header_names_parameters_without_effect(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client:
        answer = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=HELLO, seed=7, verbosity="low"
        )

    assert answer.headers["x-understudy-ignored"].split(", ") == ["seed", "verbosity"]


def test_log_probabilities_that_were_asked_for_are_null(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client:
        answer = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=HELLO, logprobs=True, top_logprobs=5
        )

    assert answer.parse().choices[0].logprobs is None
    assert answer.headers["x-understudy-ignored"].split(", ") == ["logprobs", "top_logprobs"]


def test_the_models_can_be_listed_and_looked_up(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client:
        names = [model.id for model in client.models.list()]
        found = client.models.retrieve("gpt-4o")
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("no-such-model")

    assert {"gpt-4o", "gpt-5-mini"} <= set(names)
    assert any(name.startswith("claude-") for name in names)
    assert (found.id, found.object) == ("gpt-4o", "model")
    assert caught.value.code == "model_not_found"


def test_a_model_that_nothing_maps_is_answered_by_the_default_and_the_log_says_so(proxy: Proxy, cloud: Cloud) -> None:
    since = len(proxy.err.text)
    cloud.script(Reply(text="Here."))

    with proxy.openai() as client:
        completion = client.chat.completions.create(model="some-llm", messages=HELLO)

    assert completion.model == "some-llm"
    assert "sonnet" in cloud.turns[0].body["model"]
    assert "sonnet" in proxy.err.wait_for(r"no pattern fits model 'some-llm'.*", since)[0]
