"""A transcript holds the messages, may be read by nobody else, and ends where Claude Code can take it up."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from engine.conversation import digest
from engine.transcript import remove, resumable, transcript
from translate.turn import Message

MODEL = "claude-x"


def user(*blocks: Any) -> Message:
    return Message("user", tuple({"type": "text", "text": b} if isinstance(b, str) else b for b in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple({"type": "text", "text": b} if isinstance(b, str) else b for b in blocks))


USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        pytest.param([user("a")], 0, id="no history"),
        pytest.param([user("a"), assistant("b"), user("c")], 2, id="up to the question"),
        pytest.param(
            [user("a"), assistant("b"), user("c"), assistant(USE), user(RESULT)], 2, id="not amid a tool loop"
        ),
        pytest.param([user("a"), assistant(USE), user(RESULT)], 0, id="not at all in the first loop"),
        pytest.param([user("a"), assistant(USE), user(RESULT), assistant("b"), user("c")], 4, id="a finished loop"),
    ],
)
def test_how_much_of_a_history_it_can_hold(messages: list[Message], count: int) -> None:
    assert resumable(messages) == count


def test_each_line_names_the_one_before() -> None:
    messages = [user("a"), assistant(USE), user(RESULT), assistant("b")]
    written = transcript(messages, [digest(message, MODEL) for message in messages], MODEL)

    lines = [json.loads(line) for line in written.lines.splitlines()]
    assert [line["parentUuid"] for line in lines] == [None, *(line["uuid"] for line in lines[:-1])]
    assert [line["message"]["role"] for line in lines] == ["user", "assistant", "user", "assistant"]
    assert {line["sessionId"] for line in lines} == {written.session}
    # Only a plain message of the user's can be rewound to.
    assert [held.prompt for held in written.held] == [lines[0]["uuid"], None, None, None]


def test_nobody_else_can_read_it_and_it_can_be_removed(tmp_path: Path) -> None:
    path = transcript([user("a")], [b""], MODEL).write(tmp_path / "projects" / "-x")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    remove(path)
    remove(path)
    assert list(path.parent.iterdir()) == []
