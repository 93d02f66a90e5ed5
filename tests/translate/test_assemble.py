"""Both dialects give the same Turn for the same wish. What each wish becomes: their own tests."""

from dataclasses import replace
from typing import Any

import pytest

from translate.assemble import BUDGET, EFFORT
from translate.chat.request import translate_request
from translate.chat.wire import ReasoningEffort
from translate.responses.request import read_request, translate_response_request
from translate.turn import Turn

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"name": "look", "parameters": SCHEMA, "strict": True}
OLDER, NEWEST = "claude-opus-4-1", "claude-sonnet-5-5"


def chat(**fields: Any) -> tuple[Turn, tuple[str, ...]]:
    result = translate_request({"messages": [{"role": "user", "content": "Hi"}], **fields})
    return result.turn, result.ignored


def response(**fields: Any) -> tuple[Turn, tuple[str, ...]]:
    read = read_request({"input": "Hi", **fields})
    result = translate_response_request(read, open_reasoning=lambda _: None)
    return result.turn, result.ignored


@pytest.mark.parametrize("model", [OLDER, NEWEST])
@pytest.mark.parametrize(
    ("in_chat", "in_responses"),
    [
        ({}, {}),
        ({"max_completion_tokens": 5000}, {"max_output_tokens": 5000}),
        ({"temperature": 1.5, "top_p": 0.5, "top_k": 3}, {"temperature": 1.5, "top_p": 0.5, "top_k": 3}),
        ({"reasoning_effort": "minimal"}, {"reasoning": {"effort": "minimal"}}),
        (
            {"reasoning_effort": "high", "max_completion_tokens": 3000, "temperature": 0.5},
            {"reasoning": {"effort": "high"}, "max_output_tokens": 3000, "temperature": 0.5},
        ),
        ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}),
        ({"service_tier": "default"}, {"service_tier": "default"}),
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
        ({"user": "a@b.example"}, {"user": "a@b.example"}),
        ({"user": "a", "safety_identifier": "b"}, {"user": "a", "safety_identifier": "b"}),
        (
            {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"},
            {"tools": [{"type": "function", **TOOL}], "tool_choice": "required"},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}},
        ),
    ],
)
def test_both_dialects_ask_claude_for_the_same(
    model: str, in_chat: dict[str, Any], in_responses: dict[str, Any]
) -> None:
    assert chat(model=model, **in_chat) == response(model=model, **in_responses)


def test_every_effort_has_its_row() -> None:
    efforts = {*ReasoningEffort.__value__.__args__} - {"none"}

    assert EFFORT.keys() == BUDGET.keys() == efforts


def test_a_turn_differs_where_the_wish_does() -> None:
    plain, _ = chat(model=NEWEST)
    bounded, _ = chat(model=NEWEST, max_tokens=7)

    assert bounded == replace(plain, max_tokens=7)


@pytest.mark.parametrize(
    ("model", "asked", "told"),
    [
        (OLDER, {"type": "enabled"}, {"type": "enabled", "budget_tokens": BUDGET["medium"]}),
        (OLDER, {"type": "enabled", "budget_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}),
        (OLDER, {"type": "disabled"}, None),
        (NEWEST, {"type": "enabled"}, {"type": "adaptive"}),
        (NEWEST, {"type": "enabled", "display": "omitted"}, {"type": "adaptive", "display": "omitted"}),
        (NEWEST, {"type": "adaptive", "display": "summarized"}, {"type": "adaptive", "display": "summarized"}),
        (NEWEST, {"type": "disabled"}, None),
    ],
)
def test_thinking_is_asked_for_in_the_form_that_the_model_takes(model: str, asked: Any, told: Any) -> None:
    assert chat(model=model, thinking=asked)[0].thinking == told


def test_thinking_follows_the_effort_if_it_has_no_budget() -> None:
    turn, _ = chat(model=OLDER, thinking={"type": "enabled"}, reasoning_effort="high")

    assert turn.thinking == {"type": "enabled", "budget_tokens": BUDGET["high"]}


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"model": NEWEST, "thinking": {"type": "disabled"}}, ("thinking",)),
        ({"model": OLDER, "thinking": {"type": "disabled"}}, ()),
        ({"model": OLDER, "thinking": {"type": "disabled", "budget_tokens": 5}}, ("thinking.budget_tokens",)),
        ({"model": OLDER, "thinking": {"type": "enabled"}, "max_tokens": 100}, ("thinking",)),
        ({"model": OLDER, "reasoning_effort": "high", "max_tokens": 100}, ("reasoning_effort",)),
        ({"model": OLDER, "reasoning_effort": "none", "max_tokens": 100}, ()),
    ],
)
def test_a_wish_about_thinking_that_cannot_be_met_is_reported(fields: dict[str, Any], ignored: tuple[str, ...]) -> None:
    assert chat(**fields)[1] == ignored


def test_each_dialect_names_the_effort_by_its_own_path() -> None:
    _, ignored = response(model=OLDER, reasoning={"effort": "high"}, max_output_tokens=100)

    assert ignored == ("reasoning.effort",)
