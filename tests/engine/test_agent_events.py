from typing import Any

import pytest

from engine.agent_events import OneAnswer, describe
from translate.chat.completion import fold
from translate.chat.stream import ChatCompletionStream


def start(**usage: int) -> dict[str, Any]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": usage,
    }
    return {"type": "message_start", "message": message}


def block(index: int, kind: str, *deltas: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, said: str) -> list[dict[str, Any]]:
    return block(index, "text", {"type": "text_delta", "text": said}, text="")


def call(index: int, name: str, written: str) -> list[dict[str, Any]]:
    delta = {"type": "input_json_delta", "partial_json": written}
    return block(index, "tool_use", delta, id="toolu_1", name=name, input={})


def end(reason: str, **usage: int) -> list[dict[str, Any]]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}, {"type": "message_stop"}]


RUN = [
    start(input_tokens=10, output_tokens=1),
    *text(0, "I look."),
    *call(1, "Read", '{"file_path": "a.txt"}'),
    *end("tool_use", output_tokens=5),
    start(input_tokens=20, cache_read_input_tokens=7, output_tokens=1),
    *block(0, "thinking", {"type": "thinking_delta", "thinking": "Hm."}, thinking=""),
    *text(1, "It says so."),
    *end("end_turn", output_tokens=8),
]


def answer(run: list[dict[str, Any]], *, show: bool = True) -> list[Any]:
    one = OneAnswer(show=show)
    return [*(told for event in run for told in one.feed(event)), one.finish()]


@pytest.mark.parametrize(("show", "shown"), [(True, "Read(file_path: a.txt)\nHm."), (False, "Hm.")])
def test_a_run_is_one_answer_that_any_dialect_can_tell(show: bool, shown: str) -> None:
    stream = ChatCompletionStream(id="c", created=0, model="m", include_usage=True, show_reasoning=True)
    completion = fold(chunk for event in answer(RUN, show=show) for chunk in stream.feed(event))

    (choice,) = completion.choices
    assert choice.message.content == "I look.\n\nIt says so."
    assert choice.message.reasoning_content == shown
    assert choice.finish_reason == "stop"
    assert completion.usage.completion_tokens == 13
    assert completion.usage.prompt_tokens == 37


def test_blocks_are_counted_through() -> None:
    starts = [event["index"] for event in answer(RUN) if event["type"] == "content_block_start"]
    assert starts == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("last", "told"), [("tool_use", "end_turn"), ("max_tokens", "max_tokens"), ("refusal", "refusal")]
)
def test_the_last_stop_reason_is_the_answers_unless_it_was_about_to_act(last: str, told: str) -> None:
    ended = answer([start(), *text(0, "x"), *end(last)])[-1]
    assert ended["delta"]["stop_reason"] == told


def test_what_it_did_is_one_short_line() -> None:
    assert describe("Bash", '{"command": "git log\\n --all", "n": 3}') == "Bash(command: git log --all, n: 3)"
    assert describe("Bash", "no json") == "Bash()"
    assert len(describe("Write", '{"content": "%s"}' % ("x" * 5000))) < 220
