"""What a turn may cost is known, about, before it is played."""

from typing import Any

import pytest

from auth.keys.estimates import IMAGE_TOKENS, OUTPUT_TOKENS, may_cost
from translate.prices import cost
from translate.turn import ContentBlock, Message, Turn


def turn(*blocks: ContentBlock, **fields: Any) -> Turn:
    return Turn(**{"model": "claude-opus-4-1", "messages": (Message("user", blocks),), **fields})


def text(count: int) -> ContentBlock:
    return {"type": "text", "text": "x" * count}


def usd(input_tokens: int, output_tokens: int) -> float:
    found = cost("claude-opus-4-1", {"input_tokens": input_tokens, "output_tokens": output_tokens})
    assert found is not None
    return found


def test_the_app_s_limit_counts_and_without_one_a_usual_length() -> None:
    assert may_cost(turn(text(3), max_tokens=100)) == pytest.approx(usd(1, 100), rel=0.1)
    assert may_cost(turn(text(3))) == pytest.approx(usd(1, OUTPUT_TOKENS), rel=0.01)


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        (text(3_000_000), 1_000_000),
        ({"type": "image", "source": {"type": "base64", "data": "x" * 100}}, IMAGE_TOKENS),
        ({"type": "document", "source": {"type": "base64", "data": "x" * 120_000}}, 10_000),
        ({"type": "tool_result", "tool_use_id": "t", "content": [text(30_000), text(30_000)]}, 20_000),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {"a": ["x" * 30_000, {"b": "x" * 30_000}]}}, 20_000),
    ],
)
def test_all_that_is_sent_counts(block: ContentBlock, tokens: int) -> None:
    assert may_cost(turn(block, max_tokens=1)) == pytest.approx(usd(tokens, 1), rel=0.01)


def test_the_system_prompt_and_the_tools_count() -> None:
    tools = ({"name": "f", "description": "x" * 30_000},)

    assert may_cost(turn(system="x" * 30_000, tools=tools, max_tokens=1)) == pytest.approx(usd(20_000, 1), rel=0.01)


def test_a_model_without_a_price_may_have_another_s() -> None:
    unknown = turn(text(3), model="claude-next")

    assert may_cost(unknown) == 0
    assert may_cost(unknown, unknown_as="claude-opus-4-1") > 0


def test_a_deeply_nested_value_is_counted() -> None:
    deep: Any = "x" * 30_000
    for _ in range(10_000):
        deep = [deep]

    assert may_cost(turn({"type": "tool_use", "id": "t", "name": "f", "input": {"a": deep}}, max_tokens=1)) > 0
