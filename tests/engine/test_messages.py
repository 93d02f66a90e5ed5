"""Messages go to Claude Code as they are; only a result's keys get the order of its own."""

import json

import pytest

from engine.messages import said, user
from translate.turn import Message

THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
WORDS = {"type": "text", "text": "a"}


def test_a_tools_result_is_written_as_claude_code_writes_it() -> None:
    message = Message("user", ({"type": "tool_result", "tool_use_id": "t", "content": [WORDS]}, WORDS))

    assert json.dumps(user(message)["content"]) == json.dumps(
        [{"tool_use_id": "t", "type": "tool_result", "content": [WORDS]}, WORDS]
    )


def test_thinking_says_whose_it_is() -> None:
    plain = said(Message("assistant", (WORDS,)), "claude-x")
    thinking = said(Message("assistant", (THINKING, WORDS)), "claude-x")

    assert plain == {"role": "assistant", "content": [WORDS]}
    assert (thinking["model"], thinking["stop_reason"]) == ("claude-x", "end_turn")


def test_an_alias_is_told_by_its_models_name() -> None:
    assert said(Message("assistant", (THINKING,)), "haiku")["model"].startswith("claude-haiku-")


@pytest.mark.parametrize("words", ["(no content)", "[Empty text removed]", " (no content)\n"])
def test_a_text_that_claude_code_drops_gets_a_zero_width_character(words: str) -> None:
    block = {"type": "text", "text": words}
    call = {"type": "tool_use", "id": "t", "name": "get", "input": {}}

    marked = [said(Message("assistant", blocks), "m")["content"][-1] for blocks in ((block,), (THINKING, block))]
    kept = [said(Message("assistant", (block, other)), "m")["content"][0] for other in (WORDS, call)]

    assert marked == [{"type": "text", "text": f"{words}\u200b"}] * 2
    assert kept == [block] * 2
