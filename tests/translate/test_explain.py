"""Each key of a request is explained, by what the translation itself makes of it."""

import json
from typing import Any

import pytest

from tests.translate.chat.test_known_keys import REQUESTS as CHATS
from tests.translate.responses.test_known_keys import REQUESTS as RESPONSES
from translate.chat.request import translate_request
from translate.explain import Endpoint, Explanation, Operator, explain, guess_endpoint
from translate.known_keys import BREAKPOINTS
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP

HI = [{"role": "user", "content": "Hi"}]


def explained(endpoint: Endpoint, **fields: Any) -> Explanation:
    return explain(endpoint, {"model": "gpt-4o", **fields}, Operator(DEFAULT_MODEL_MAP, DEFAULT_MODEL))


def rows(told: Explanation) -> dict[str, str]:
    return {row.path: row.what for row in told.rows}


def test_each_key_is_honoured_ignored_or_refused_with_the_reason() -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {}}
    told = explained("chat", messages=[{"role": "user", "content": [part, part]}], seed=1, logit_bias={})

    assert rows(told) == {
        "model": "honoured",
        "messages": "honoured",
        "messages[0].role": "honoured",
        "messages[0].content": "honoured",
        "messages[].content[].type": "honoured",
        "messages[].content[].text": "honoured",
        "messages[].content[].cache_control": "ignored",
        "seed": "ignored",
        "logit_bias": "honoured",
    }
    reasons = {row.path: row.how for row in told.rows}
    assert reasons["messages[].content[].cache_control"] == BREAKPOINTS
    assert "by seed" in reasons["seed"]
    assert reasons["logit_bias"] == "this value asks for nothing"


def test_what_claude_would_be_asked_is_what_the_translation_makes() -> None:
    told = explained("chat", messages=HI, n=3)

    assert told.turns == (translate_request({"model": "gpt-4o", "messages": HI}).turn,) * 3
    assert (told.asked_model, told.model and told.model.model, told.error) == ("gpt-4o", "sonnet", None)


@pytest.mark.parametrize(
    ("endpoint", "fields", "path"),
    [
        ("chat", {"messages": HI, "audio": {"voice": "a"}}, "audio"),
        ("chat", {"messages": HI, "invented": 1}, "invented"),
        ("chat", {"messages": [{"role": "wizard"}]}, "messages[0].role"),
        ("chat", {}, "messages"),
        ("responses", {"input": "Hi", "multi_agent": {"enabled": True}}, "multi_agent"),
        ("responses", {"input": 3}, "input"),
        ("completions", {"prompt": "a", "logprobs": 2}, "logprobs"),
    ],
)
def test_what_is_refused_is_told_with_the_error_that_the_app_gets(
    endpoint: Endpoint, fields: dict[str, Any], path: str
) -> None:
    told = explained(endpoint, **fields)

    assert told.error is not None
    assert (told.error.status, told.error.param, told.turns) == (400, path, ())
    assert {row.path: row.how for row in told.rows if row.what == "refused"} == {path: told.error.message}


def test_a_request_without_a_model_is_explained_too() -> None:
    told = explain("chat", {"messages": HI}, Operator(DEFAULT_MODEL_MAP, DEFAULT_MODEL))

    assert (told.asked_model, told.model, rows(told)["model"]) == ("", None, "refused")


def test_all_choices_of_a_legacy_request_are_explained() -> None:
    told = explained("completions", prompt=["a", "b"], n=2, best_of=2)

    assert (len(told.turns), rows(told)["best_of"]) == (4, "honoured")


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        *((fields, "chat") for fields in CHATS),
        *((fields, "responses") for fields in RESPONSES),
        ({"prompt": "a"}, "completions"),
        ({"prompt": {"id": "pmpt_1"}}, "responses"),
        ({"model": "gpt-4o"}, None),
    ],
)
def test_the_keys_of_a_body_tell_its_endpoint(fields: dict[str, Any], endpoint: Endpoint | None) -> None:
    assert guess_endpoint(fields) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "fields"), [*(("chat", fields) for fields in CHATS), *(("responses", fields) for fields in RESPONSES)]
)
def test_every_key_of_a_request_has_a_row(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    told = explain(endpoint, fields, Operator(DEFAULT_MODEL_MAP, DEFAULT_MODEL))

    assert set(fields) <= set(rows(told))
    assert json.dumps([[row.path, row.how] for row in told.rows])


@pytest.mark.parametrize(
    ("endpoint", "fields", "note"),
    [
        ("responses", {"input": "Hi", "previous_response_id": "resp_1"}, "stored conversation"),
        ("responses", {"input": "Hi", "tools": [{"type": "mcp"}]}, "MCP"),
        ("chat", {"messages": HI, "session_id": "a"}, "session"),
    ],
)
def test_what_is_not_looked_up_is_said(endpoint: Endpoint, fields: dict[str, Any], note: str) -> None:
    assert any(note in told for told in explained(endpoint, **fields).notes)
    assert explained("chat", messages=HI).notes == ()
