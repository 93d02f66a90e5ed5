"""A format that only an instruction asked for is checked; one more try, or the answer says that it does not follow."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from api import format_check
from api.format_check import MAX_SCHEMA_BYTES, broken_rule
from engine import ClaudeError
from engine.agents import Agent
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

FREE = {"type": "object", "additionalProperties": {"type": "integer"}}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["next"],
    "additionalProperties": False,
}
GOOD, BAD = [START, *text('{"a": 1}'), END], [START, *text('{"a": "no"}'), END]


@pytest.mark.parametrize(
    ("schema", "answer", "rule"),
    [
        ({"type": "object"}, "{}", None),
        ({"type": "object"}, "Here you are: {}", "it is not JSON"),
        ({"type": "object"}, "", "it is not JSON"),
        ({"type": "object"}, "[]", "'type' is not met"),
        (FREE, '{"a": 1}', None),
        (FREE, '{"a": "b"}', "'type' is not met"),
        (TREE, '{"next": {"next": null}}', None),
        (TREE, '{"next": {}}', "'anyOf' is not met"),
        ({"pattern": "^a+$"}, '"aaa"', None),
        ({"pattern": "^a+$"}, '"b"', "'pattern' is not met"),
        ({"pattern": "(?=a)"}, '"b"', None),
        ({"pattern": "^(a+)+$"}, json.dumps("a" * 50_000 + "b"), "'pattern' is not met"),
        ({"patternProperties": {"^(a+)+$": {"type": "integer"}}}, '{"aa": "x"}', "'type' is not met"),
        ({"patternProperties": {"^a": True}, "additionalProperties": False}, '{"b": 1}', None),
        ({"uniqueItems": True}, "[1, 1]", "'uniqueItems' is not met"),
        ({"uniqueItems": True}, json.dumps([{"n": n} for n in range(5000)]), None),
        ({"uniqueItems": True}, '[{"a": 1, "b": 2}, {"b": 2, "a": 1}]', "'uniqueItems' is not met"),
        ({"uniqueItems": True}, '[1, true, "1", [1]]', None),
        ({"uniqueItems": False}, "[1, 1]", None),
        ({"items": {"type": "string"}, "unevaluatedItems": False}, '["a"]', None),
        ({"$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a", "type": "null"}}}, "1", "'type' is not met"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(?=a)"}}, '["b"]', None),
        ({"type": "string", "title": "a" * MAX_SCHEMA_BYTES}, "1", None),
        ({"type": 7}, "{}", None),
        ({"$ref": "#/$defs/none"}, "{}", None),
        ({"$ref": "https://schemas.example/a.json"}, "{}", None),
    ],
)
async def test_the_rule_that_is_broken_is_named(schema: Any, answer: str, rule: str | None) -> None:
    assert await broken_rule(schema, answer) == rule


FEW = 1000
"""So many steps are allowed in these tests. What follows after more of them is not found."""

LEVELS = FEW.bit_length()


def doubled(word: str) -> dict[str, Any]:
    """A schema whose references multiply, and which no number follows."""
    twice = {f"a{n}": {"$anchor": f"a{n}", "allOf": [{word: f"#a{n + 1}"}] * 2} for n in range(LEVELS)}
    return {word: "#a0", "$defs": {**twice, f"a{LEVELS}": {"$anchor": f"a{LEVELS}"}}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (doubled("$ref"), "1"),
        (doubled("$dynamicRef"), "1"),
        ({"items": {"allOf": [{}] * 100}}, json.dumps([1] * 100)),
        ({"items": {"allOf": [True] * 100}}, json.dumps([1] * 100)),
        ({"items": {"not": {"anyOf": [{"type": "string"}] * 100}}}, json.dumps([1] * 100)),
        ({"patternProperties": {f"^x{n}": False for n in range(100)}}, json.dumps({f"a{n}": 1 for n in range(100)})),
    ],
    ids=["references", "dynamic references", "schemas", "true", "alternatives", "patterns"],
)
async def test_a_check_of_too_many_steps_is_given_up(
    schema: dict[str, Any], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_after_all = {"allOf": [schema, False], "$defs": schema.get("$defs", {})}
    assert await broken_rule(broken_after_all, answer) is not None

    monkeypatch.setattr(format_check, "MAX_STEPS", FEW)

    assert await broken_rule(broken_after_all, answer) is None


async def test_a_check_that_computes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_check, "MAX_CPU_S", -1)

    assert await broken_rule({"items": {"type": "string"}}, "[1]") is None


async def test_nested_unevaluated_items_are_not_checked_again_at_each_level(monkeypatch: pytest.MonkeyPatch) -> None:
    schema: dict[str, Any] = {}
    for _ in range(20):
        schema = {"anyOf": [schema], "unevaluatedItems": True}
    monkeypatch.setattr(format_check, "MAX_STEPS", FEW)

    assert await broken_rule({"allOf": [schema, {"type": "string"}]}, "[1]") == "'type' is not met"


CHAT = "/v1/chat/completions"

COUNTS = {
    "input_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 1,
    "output_tokens_details": {"thinking_tokens": 1},
    "server_tool_use": {"web_search_requests": 4},
}


def chat(schema: Any = FREE, **fields: Any) -> dict[str, Any]:
    format = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    messages = [{"role": "user", "content": "json"}]
    return {"model": "gpt-4o", "messages": messages, "response_format": format, **fields}


def response(**fields: Any) -> dict[str, Any]:
    return {
        "model": "gpt-4o",
        "input": "json",
        "text": {"format": {"type": "json_schema", "name": "a", "schema": FREE}},
    }


def said(body: Any) -> list[str]:
    if "choices" in body:
        return [choice["message"]["content"] for choice in body["choices"]]
    return [part["text"] for item in body["output"] for part in item["content"]]


@pytest.mark.parametrize(("path", "asked"), [(CHAT, chat()), ("/v1/responses", response())])
async def test_an_answer_that_does_not_follow_is_asked_for_once_more(path: str, asked: Any) -> None:
    engine = Scripted(BAD, GOOD)
    async with client(engine) as http:
        answer = await http.post(path, json=asked)

    assert said(answer.json()) == ['{"a": 1}']
    assert "x-understudy-format" not in answer.headers
    assert len(engine.turns) == 2


@pytest.mark.parametrize(("path", "asked"), [(CHAT, chat()), ("/v1/responses", response())])
@pytest.mark.parametrize("second", [BAD, [ClaudeError("overloaded_error")]], ids=["broken again", "failed"])
async def test_an_answer_that_still_does_not_follow_says_so(path: str, asked: Any, second: Any) -> None:
    engine = Scripted(BAD, second)
    async with client(engine) as http:
        answer = await http.post(path, json=asked)

    assert answer.status_code == 200
    assert said(answer.json()) == ['{"a": "no"}']
    assert answer.headers["x-understudy-format"] == "not followed"
    assert len(engine.turns) == 2


@pytest.mark.parametrize(("path", "asked"), [(CHAT, chat()), ("/v1/responses", response())])
async def test_an_agent_is_not_asked_again_because_its_tools_have_effects(
    path: str, asked: Any, tmp_path: Path
) -> None:
    engine = Scripted(BAD, GOOD)
    async with client(engine, agent=Agent("writer", tmp_path, ("Write",))) as http:
        answer = await http.post(path, json=asked)

    assert said(answer.json()) == ['{"a": "no"}']
    assert answer.headers["x-understudy-format"] == "not followed"
    assert len(engine.turns) == 1


async def test_only_the_choices_that_do_not_follow_are_asked_for_again_and_both_tries_are_counted() -> None:
    engine = Scripted(GOOD, BAD, [START, *text('{"a": 2}'), END])
    async with client(engine) as http:
        answer = (await http.post(CHAT, json=chat(n=2))).json()

    assert sorted(said(answer)) == ['{"a": 1}', '{"a": 2}']
    assert sorted(choice["index"] for choice in answer["choices"]) == [0, 1]
    assert answer["usage"]["completion_tokens"] == 6


async def test_the_usage_of_a_response_is_that_of_both_tries() -> None:
    searched = {**START, "message": {**START["message"], "usage": COUNTS}}
    async with client(Scripted([searched, *BAD[1:]], [searched, *GOOD[1:]])) as http:
        answer = (await http.post("/v1/responses", json=response())).json()
        stored = (await http.get(f"/v1/responses/{answer['id']}")).json()

    assert said(answer) == ['{"a": 1}']
    assert answer["usage"] == stored["usage"]
    assert answer["usage"] == {
        "input_tokens": 2 * 9,
        "input_tokens_details": {"cached_tokens": 2 * 3, "cache_write_tokens": 2 * 1},
        "output_tokens": 2 * 2,
        "output_tokens_details": {"reasoning_tokens": 2 * 1},
        "total_tokens": 2 * 11,
    }
    assert answer["tool_usage"]["web_search"]["num_requests"] == 2 * 4


@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
async def test_a_stream_that_does_not_follow_is_told_in_the_log(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = Scripted(BAD)
    async with client(engine) as http:
        answer = await http.post(path, json={**(chat() if path == CHAT else response()), "stream": True})

    assert answer.status_code == 200
    assert "which Claude was asked for in words: 'type' is not met" in caplog.text
    assert "no" not in caplog.text.partition("in words:")[2].replace("not", "")
    assert len(engine.turns) == 1


@pytest.mark.parametrize(
    ("asked", "script"),
    [
        (chat({**TREE, "properties": {"next": {"type": "null"}}}), BAD),
        (chat(response_format={"type": "text"}), BAD),
        (chat(), [*BAD[:-1], {**END, "delta": {"stop_reason": "max_tokens"}}]),
        (chat(), [*BAD[:-1], {**END, "delta": {"stop_reason": "refusal"}}]),
    ],
    ids=["held by the grammar", "text", "cut", "refused"],
)
async def test_what_is_held_by_the_grammar_or_says_so_itself_is_not_checked(asked: Any, script: Any) -> None:
    engine = Scripted(script)
    async with client(engine) as http:
        answer = await http.post(CHAT, json=asked)

    assert answer.status_code == 200
    assert "x-understudy-format" not in answer.headers
    assert len(engine.turns) == 1


async def test_a_json_object_is_checked_too() -> None:
    engine = Scripted([START, *text("No."), END], GOOD)
    async with client(engine) as http:
        answer = await http.post(CHAT, json=chat(response_format={"type": "json_object"}))

    assert said(answer.json()) == ['{"a": 1}']
