"""What is left of a conversation that was summed up."""

from typing import Any

from translate.responses.compaction import compacted, summary_block
from translate.responses.wire import CompactionItem, OutputMessage


def test_the_users_words_and_the_notes_are_left() -> None:
    asked: list[dict[str, Any]] = [
        {"type": "message", "id": "a", "role": "user", "content": "Count."},
        {"type": "function_call", "id": "b", "call_id": "c", "name": "f", "arguments": "{}"},
        {"id": "d", "role": "user", "content": [{"type": "input_text", "text": "On."}]},
    ]

    left = compacted(asked, [CompactionItem("cmp_1", "sealed"), OutputMessage("msg_1", "completed", [])])

    assert [item["id"] for item in left] == ["a", "d", "cmp_1"]
    assert [item["type"] for item in left] == ["message", "message", "compaction"]
    assert left[0]["content"] == [{"type": "input_text", "text": "Count."}]


def test_a_summary_says_what_it_is() -> None:
    assert "dropped" in summary_block("x")["text"]
