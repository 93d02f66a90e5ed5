"""The choice of a process is a table of costs."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.conversation import UNKNOWN, Held, digest
from engine.plan import plan
from translate.turn import Message

MODEL = "claude-x"


def said(*words: str) -> list[Message]:
    roles = ("user", "assistant")
    return [Message(roles[n % 2], ({"type": "text", "text": word},)) for n, word in enumerate(words)]  # type: ignore[arg-type]


@dataclass
class Idle:
    name: str
    held: list[Held] = field(default_factory=list)


def holding(name: str, *words: str) -> Idle:
    messages = said(*words)
    return Idle(name, [Held(digest(m, MODEL), "uuid" if m.role == "user" else None) for m in messages])


def chosen(idle: list[Idle], *words: str, spare: bool = False, room: bool = False, resumable: int = 0) -> Any:
    messages = said(*words)
    digests = [digest(message, MODEL) for message in messages]
    choice = plan(idle, messages, digests, spare=spare, room=room, resumable=resumable)
    return choice and (choice.process.name if choice.process else None, choice.how)


LONG = [f"word {n}" for n in range(301)]
AT_WORK = Idle("looping", [Held(b"x", "uuid"), Held(b"y", None, ("call",))])
STUCK = Idle("stuck", [Held(b"x", None), UNKNOWN])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param(chosen([], "a"), None, id="nothing there and no room: wait"),
        pytest.param(chosen([], "a", room=True), (None, "cold"), id="nothing there: a new one"),
        pytest.param(chosen([], "a", room=True, spare=True), (None, "warm"), id="a spare one before a new one"),
        pytest.param(
            chosen([holding("p", "x", "y")], "a", spare=True), ("p", "reused"), id="a used one before a spare"
        ),
        pytest.param(
            chosen([holding("p", "x", "y"), holding("q", "a", "b")], "a", "b", "c", spare=True),
            ("q", "continued"),
            id="the one that has the conversation",
        ),
        pytest.param(
            chosen([holding("p", "a", "b"), holding("q", "a", "b", "c", "d")], "a", "b", "c", "d", "e"),
            ("q", "continued"),
            id="the one that has more of it",
        ),
        pytest.param(
            chosen([holding("p", "a", "b", "c", "d")], "a", "b", "other"),
            ("p", "continued"),
            id="back to where the conversation went another way",
        ),
        pytest.param(
            chosen([holding("p", *LONG, "end")], "a", spare=True),
            (None, "warm"),
            id="a long conversation is left alone",
        ),
        pytest.param(chosen([holding("p", *LONG, "end")], "a"), ("p", "reused"), id="unless there is nothing else"),
        pytest.param(chosen([AT_WORK, holding("p", "x", "y")], "a"), ("p", "reused"), id="a tool loop is left alone"),
        pytest.param(chosen([STUCK], "a", room=True), (None, "cold"), id="what cannot be rewound is not taken"),
        pytest.param(
            chosen([], *LONG, room=True, spare=True, resumable=300), (None, "resumed"), id="a long history: from a file"
        ),
        pytest.param(
            chosen([], *LONG[:31], room=True, spare=True, resumable=30), (None, "warm"), id="a short one: put in"
        ),
        pytest.param(
            chosen([holding("p", *LONG[:300])], *LONG, room=True, spare=True, resumable=300),
            ("p", "continued"),
            id="however long, if it is there",
        ),
    ],
)
def test_the_plan(choice: Any, expected: Any) -> None:
    assert choice == expected
