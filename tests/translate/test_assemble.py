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
    (one, ignored), (other, also_ignored) = chat(model=model, **in_chat), response(model=model, **in_responses)

    assert (_without_paths(one), ignored) == (_without_paths(other), also_ignored)


def _without_paths(turn: Turn) -> Turn:
    """Return a Turn whose fallback does not name the dialect's own parameters."""
    return replace(turn, fallback=turn.fallback and replace(turn.fallback, params=()))


def test_every_effort_has_its_row() -> None:
    efforts = {*ReasoningEffort.__value__.__args__} - {"none"}

    assert EFFORT.keys() == BUDGET.keys() == efforts


def test_a_turn_differs_where_the_wish_does() -> None:
    plain, _ = chat(model=NEWEST)
    bounded, _ = chat(model=NEWEST, max_tokens=7)

    assert bounded == replace(plain, max_tokens=7)
