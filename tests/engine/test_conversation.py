"""What a process holds is matched exactly, and what is in doubt matches nothing."""

from typing import Any

import pytest

from engine.conversation import MAX_RESULT_CHARS, UNKNOWN, AnswerSoFar, Held, digest, keep
from translate.turn import Message

MODEL = "claude-x"


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(*blocks: Any) -> Message:
    return Message("user", tuple(text(b) if isinstance(b, str) else b for b in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(text(b) if isinstance(b, str) else b for b in blocks))


def use(id: str, **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": input}


def result(id: str, words: str = "r") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": [text(words)]}


def held(*messages: Message, calls: tuple[str, ...] = ()) -> list[Held]:
    """Return what a process holds of these messages; plain users' messages are prompts."""
    stack = [
        Held(digest(m, MODEL), "uuid" if m.role == "user" and m.content[0]["type"] != "tool_result" else None)
        for m in messages
    ]
    if calls:
        stack[-1] = Held(stack[-1].digest, calls=calls)
    return stack


def kept(stack: list[Held], *messages: Message) -> int | None:
    return keep(stack, messages, [digest(message, MODEL) for message in messages])


LOOP = (user("a"), assistant(use("1"), use("2")))
PARKED = held(*LOOP, calls=("1", "2"))
AB = held(user("a"), assistant("b"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(kept([], user("a")), 0, id="nothing held"),
        pytest.param(kept(AB, user("a"), assistant("b"), user("c")), 2, id="all of it"),
        pytest.param(kept(AB, user("a"), assistant("B"), user("c")), 0, id="another answer"),
        pytest.param(kept(AB, user("a")), 0, id="the same question again"),
        pytest.param(
            kept(
                held(user("a"), assistant("b"), user("c"), assistant("d")), user("a"), assistant("b"), user("C")
            ),
            2,
            id="another question after the same beginning",
        ),
        pytest.param(kept([*held(user("a")), UNKNOWN], user("a"), assistant("b"), user("c")), 0, id="a broken answer"),
        pytest.param(kept(PARKED, *LOOP, user(result("1"), result("2"))), 2, id="both calls answered"),
        pytest.param(kept(PARKED, *LOOP, user(result("1"), result("2"), "x")), 2, id="and a word"),
        pytest.param(kept(PARKED, *LOOP, user(result("2"), result("1"))), 0, id="in another order"),
        pytest.param(kept(PARKED, *LOOP, user(result("1"))), 0, id="one call answered"),
        pytest.param(kept(PARKED, *LOOP, user(result("1"), result("2", " "))), 0, id="no words"),
        pytest.param(
            kept(PARKED, *LOOP, user(result("1"), result("2", "x" * (MAX_RESULT_CHARS + 1)))),
            0,
            id="more than goes through a tool",
        ),
        pytest.param(
            kept(
                PARKED, *LOOP, user(result("1"), result("2")), assistant("b"), user("c")
            ),
            0,
            id="the calls were answered elsewhere",
        ),
        pytest.param(kept(PARKED, user("other")), 0, id="another conversation amid a tool loop"),
        pytest.param(kept(held(user(result("1")), assistant("b")), user("a")), None, id="no prompt to rewind to"),
        pytest.param(kept(held(assistant("b"), user("c"), assistant("d")), user("a")), None, id="an assistant first"),
        pytest.param(
            kept(
                held(user("a"), assistant("b"), user("c"), assistant(use("1")), user(result("1")), assistant("d")),
                user("a"), assistant("b"), user("c"), assistant(use("1")), user(result("1", "other")),
            ),
            2,
            id="back to the prompt before the loop",
        ),
    ],
)  # fmt: skip
def test_how_much_is_kept(number: int | None, expected: int | None) -> None:
    assert number == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (user("a"), user("a"), True),
        (user("a"), assistant("a"), False),
        (user("a", "b"), user("ab"), False),
        (assistant(use("1", a=1, b=2)), assistant(use("1", a=1, b=2)), True),
        (assistant(use("1", a=1, b=2)), assistant(use("1", b=2, a=1)), False),
        (assistant(use("1")), assistant(use("2")), False),
        (user({"type": "text", "text": "a"}), user({"text": "a", "type": "text"}), True),
        (user({"type": "text", "text": "a", "citations": []}), user("a"), False),
    ],
)
def test_messages_are_the_same_only_if_they_are_to_claude(one: Message, other: Message, same: bool) -> None:
    assert (digest(one, MODEL) == digest(other, MODEL)) is same


def test_thinking_is_the_same_only_to_the_model_that_signed_it() -> None:
    message = assistant({"type": "thinking", "thinking": "hm", "signature": "s"}, "a")

    assert digest(message, MODEL) != digest(message, "claude-y")
    assert digest(user("a"), MODEL) == digest(user("a"), "claude-y")


def answer(*blocks: tuple[dict[str, Any], list[dict[str, Any]]]) -> AnswerSoFar:
    collected = AnswerSoFar()
    for start, deltas in blocks:
        collected.feed({"type": "content_block_start", "content_block": start})
        for delta in deltas:
            collected.feed({"type": "content_block_delta", "delta": delta})
        collected.feed({"type": "content_block_stop"})
    return collected


def words(*pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]


def call(id: str, *pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    start = {"type": "tool_use", "id": id, "name": "f", "input": {}}
    return start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def test_an_answer_is_held_as_the_app_will_send_it_back() -> None:
    collected = answer(words("let ", "me"), call("1", '{"a"', ": 1}"), call("2"))

    assert collected.held(MODEL).digest == digest(assistant("let me", use("1", a=1), use("2")), MODEL)
    assert collected.calls() == ("1", "2")


@pytest.mark.parametrize(
    "collected",
    [
        answer(),
        answer(words(" ")),
        answer(words("\ufeff"), call("1")),
        answer(words("(no ", "content)")),
        answer(words(""), call("1")),
        answer(call("1", '{"a')),
        answer(call("1", "[1]")),
        answer(({"type": "server_tool_use", "id": "1"}, [])),
        answer(({"type": "text", "text": ""}, [{"type": "citations_delta"}])),
    ],
    ids=[
        "nothing",
        "a blank",
        "a byte order mark before a call",
        "what Claude Code writes for nothing",
        "a blank before a call",
        "no JSON",
        "no object",
        "an unknown block",
        "an unknown delta",
    ],
)
def test_an_answer_in_doubt_matches_nothing(collected: AnswerSoFar) -> None:
    assert collected.held(MODEL).digest is None


@pytest.mark.parametrize(
    ("wrote", "kept", "same"),
    [
        ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}, True),
        ('{"a": 1, "b": "x"}', {"b": "x", "a": 1}, False),
        ('{"a": "x \\n"}', {"a": "x\n"}, False),
        (r'{"a": "\\ud83d"}', {"a": "\ud83d"}, False),
        ("", {}, True),
    ],
)
def test_an_answer_whose_calls_are_kept_in_another_form_matches_nothing(
    wrote: str, kept: dict[str, Any], same: bool
) -> None:
    collected = answer(call("0"), call("1", wrote))
    collected.keeps("1", kept)

    assert (collected.held(MODEL).digest is not None) is same
    assert collected.calls() == ("0", "1")


def test_calls_that_cannot_be_carried_out_are_none() -> None:
    assert answer(call("1", "{}"), call("2", '{"a')).calls() == ()
