import json
from typing import Any

import pytest

from cassettes.first_words import MAX_WORDS, answer, question, question_of

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"role": "user", "content": "Hello,\n  you"}]}, "Hello, you"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "b"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Eh?"}, {"type": "image_url"}]}]}, "Eh?"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "3 °C"}]}, "← 3 °C"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}, '→ look({"a": 1})'),
        ({"input": "Hello"}, "Hello"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}, "Hi"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "cold"}]}, "← cold"),
        ({"prompt": "Once"}, "Once"),
        ({"prompt": ["Once", "Twice"]}, "Twice"),
        ({"prompt": {"id": "pmpt_1"}}, ""),
        ({"messages": []}, ""),
        ({"messages": 7}, ""),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "image_url"}]}]}, "a"),
        ([1], ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_question_is_what_was_said_last(body: Any, words: str) -> None:
    assert question(json.dumps(body).encode()) == question_of(body) == words


@pytest.mark.parametrize("body", [b"", b"no JSON", b'{"messages": "\xff"}', b'{"input": ' + b"[" * 5000])
def test_a_body_that_cannot_be_read_asks_nothing(body: bytes) -> None:
    assert question(body) == ""


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}, "Hello."),
        ({"choices": [{"message": {"content": None, "tool_calls": [CALL]}}]}, '→ look({"a": 1})'),
        ({"choices": [{"message": {"content": None, "refusal": "No."}}]}, "No."),
        ({"choices": [{"text": " upon a time"}]}, "upon a time"),
        (
            {"output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "message", "content": [{"type": "output_text", "text": "Hello."}]},
            ]},
            "Hello.",
        ),
        ({"output": [{"type": "function_call", "name": "look", "arguments": "{}"}]}, "→ look({})"),
        ({"error": {"message": "Too fast"}}, "Too fast"),
        ({"choices": []}, ""),
        ({"choices": [7]}, ""),
        ("text", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_an_answer_is_its_text_or_its_calls_or_its_error(message: Any, words: str) -> None:
    assert answer(message) == words


def test_only_the_first_words_are_kept() -> None:
    words = question(json.dumps({"input": "word " * 10_000}).encode())
    assert len(words) == MAX_WORDS and words.endswith("…")
