"""Messages become a system prompt and alternating turns."""

from typing import Any

import pytest

from translate.chat.messages import GO_ON, MAX_IMAGES, SAID_NOTHING, translate_messages
from translate.errors import OpenAIError

type Turns = list[tuple[str, list[Any]]]


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def turns(*messages: Any) -> tuple[str | None, Turns]:
    system, result = translate_messages(messages)
    return system, [(message.role, [dict(block) for block in message.content]) for message in result]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", {}),
        ('{"a": 1}', {"a": 1}),
        ("[1]", {"value": [1]}),
        ('{"a', {"invalid_json": '{"a'}),
        ("[" * 500_000, {"invalid_json": "[" * 500_000}),
        ('{"a": NaN}', {"invalid_json": '{"a": NaN}'}),
        ('{"a": -1e999}', {"invalid_json": '{"a": -1e999}'}),
        (
            '{"id": 1234567890123456789, "n": [-9007199254740992, 9007199254740991], "s": "1234567890123456789"}',
            {
                "id": "1234567890123456789",
                "n": ["-9007199254740992", 9007199254740991],
                "s": "1234567890123456789",
            },
        ),
        ('{"a": 1234567890123456.5, "b": NaN}', {"invalid_json": '{"a": 1234567890123456.5, "b": NaN}'}),
        ('{"a": 1234567890123456.5}', {"a": 1234567890123456.5}),
        (r'{"a": "\ud83d"}', {"invalid_json": r'{"a": "\ud83d"}'}),
        (r'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
    ],
    ids=[
        "none",
        "an object",
        "no object",
        "cut short",
        "too deep",
        "no number",
        "too large",
        "long integers",
        "a long integer beside what is no number",
        "a long fraction",
        "half a pair",
        "a pair",
    ],
)
def test_a_calls_arguments_are_kept_whatever_they_are(arguments: str, told: dict[str, Any]) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}

    _, result = turns(
        said("user", "x"), said("assistant", None, tool_calls=[call]), said("tool", "1", tool_call_id="a")
    )

    assert result[1][1][0]["input"] == told


def refusal(*messages: Any) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        translate_messages(messages)
    assert caught.value.status == 400
    return caught.value


def called(*ids: str, arguments: str = '{"x": 1}') -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def test_leading_instructions_are_the_system_prompt() -> None:
    system, result = turns(said("system", "a"), said("developer", [text("b")]), said("user", "Hi"))

    assert system == "a\n\nb"
    assert result == [("user", [text("Hi")])]


def test_a_later_instruction_stays_in_its_place() -> None:
    _, result = turns(said("user", "1"), said("assistant", "2"), said("system", "be brief"), said("user", "3"))

    assert result[2] == ("user", [text("<system>\nbe brief\n</system>"), text("3")])


def test_neighbours_of_one_role_are_one_turn() -> None:
    _, result = turns(said("user", "1"), said("user", "2"), said("assistant", "3"), said("user", "4"))

    assert result == [("user", [text("1"), text("2")]), ("assistant", [text("3")]), ("user", [text("4")])]


def test_the_name_of_a_speaker_comes_before_the_text() -> None:
    system, result = turns(
        said("system", "Hello?", name="example_user"), said("user", "1", name="Ada"), said("user", "2", name="Bo")
    )

    assert system == "<name>example_user</name>\nHello?"
    assert result == [("user", [text("<name>Ada</name>"), text("1"), text("<name>Bo</name>"), text("2")])]


def test_a_name_alone_says_nothing() -> None:
    assert turns(said("user", "", name="Ada"), said("user", "1", name="")) == (None, [("user", [text("1")])])


def test_empty_messages_are_left_out() -> None:
    _, result = turns(said("user", "1"), said("assistant", ""), said("user", "2"))

    assert result == [("user", [text("1"), text("2")])]


def test_a_system_message_alone_is_asked_by_the_user() -> None:
    assert turns(said("system", "Write a haiku.")) == (None, [("user", [text("Write a haiku.")])])


def test_after_the_assistants_last_word_the_next_is_asked_for() -> None:
    _, result = turns(said("user", "1"), said("assistant", "2"))

    assert result[:2] == [("user", [text("1")]), ("assistant", [text("2")])]
    assert result[2:] == [("user", [text("<system>\nWrite the assistant's next message.\n</system>")])]


def test_a_conversation_may_begin_with_the_assistant() -> None:
    _, result = turns(said("assistant", "Hello!"), said("user", "Hi"))

    assert result[0] == ("assistant", [text("Hello!")])


def test_calls_and_their_results_are_blocks_in_the_order_of_the_answers() -> None:
    _, result = turns(
        said("user", "go"),
        called("a", "b"),
        said("tool", "2", tool_call_id="b"),
        said("tool", [text("1")], tool_call_id="a"),
        said("user", "and?"),
    )

    assert [block["id"] for block in result[1][1]] == ["a", "b"]
    assert result[1][1][0]["input"] == {"x": 1}
    assert result[2] == (
        "user",
        [
            {"type": "tool_result", "tool_use_id": "b", "content": [text("2")]},
            {"type": "tool_result", "tool_use_id": "a", "content": [text("1")]},
            text("and?"),
        ],
    )


def test_an_id_that_comes_again_is_told_apart() -> None:
    answer = said("tool", "1", tool_call_id="call_0")

    _, result = turns(said("user", "go"), called("call_0"), answer, called("call_0"), answer)

    assert [result[1][1][0]["id"], result[3][1][0]["id"]] == ["call_0", "call_0-2"]
    assert result[4][1][0]["tool_use_id"] == "call_0-2"


def test_calls_of_one_id_are_answered_in_their_order() -> None:
    answers = [said("tool", words, tool_call_id="f") for words in ("1", "2")]

    _, result = turns(said("user", "go"), called("f", "f"), *answers)

    assert [block["id"] for block in result[1][1]] == ["f", "f-2"]
    assert result[2][1] == [
        {"type": "tool_result", "tool_use_id": "f", "content": [text("1")]},
        {"type": "tool_result", "tool_use_id": "f-2", "content": [text("2")]},
    ]


def test_an_empty_result_is_a_result() -> None:
    _, result = turns(said("user", "go"), called("a"), said("tool", "", tool_call_id="a"))

    assert result[2][1] == [{"type": "tool_result", "tool_use_id": "a"}]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ("{}", {}), ("{bad", {"invalid_json": "{bad"}), ("[1]", {"value": [1]})],
)
def test_arguments_that_are_no_object_are_kept_under_a_name(arguments: str, expected: dict[str, Any]) -> None:
    _, result = turns(said("user", "go"), called("a", arguments=arguments), said("tool", "1", tool_call_id="a"))

    assert result[1][1][0]["input"] == expected


def test_the_older_form_of_calls_is_understood() -> None:
    _, result = turns(
        said("user", "go"),
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        said("function", "1", name="f"),
    )

    assert result[1][1][0]["name"] == "f"
    assert result[2][1][0]["tool_use_id"] == result[1][1][0]["id"]


def test_thinking_that_is_sent_back_comes_first() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz"},
        {"type": "reasoning.summary", "summary": "not ours"},
    ]

    _, result = turns(said("user", "1"), said("assistant", "2", reasoning_details=details), said("user", "3"))

    assert result[1][1] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        text("2"),
    ]


@pytest.mark.parametrize(
    "detail",
    [
        {"type": "reasoning.text", "text": "Hm."},
        {"type": "reasoning.text", "text": "Hm.", "signature": None},
        {"type": "reasoning.encrypted", "data": ""},
    ],
    ids=["another model's", "cut short", "empty"],
)
def test_thinking_that_claude_would_not_take_back_is_left_out(detail: dict[str, Any]) -> None:
    _, result = turns(said("user", "1"), said("assistant", "2", reasoning_details=[detail]), said("user", "3"))

    assert result[1][1] == [text("2")]


def test_thinking_that_nothing_follows_is_left_out() -> None:
    detail = {"type": "reasoning.text", "text": "Hm.", "signature": "sig"}

    _, result = turns(said("user", "1"), said("assistant", "", reasoning_details=[detail]), said("user", "2"))

    assert result == [("user", [text("1"), text("2")])]


def test_a_refusal_is_what_the_assistant_said() -> None:
    _, result = turns(said("user", "1"), said("assistant", None, refusal="No."), said("user", "2"))

    assert result[1] == ("assistant", [text("No.")])


FOUND = "<function_result>\n<name>g</name>\nr\n</function_result>"
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}


@pytest.mark.parametrize(
    ("messages", "param", "code"),
    [
        ([], "messages", "empty_array"),
        ([said("assistant", " ")], "messages", "invalid_value"),
        ([{"content": "x"}], "messages[0].role", "missing_required_parameter"),
        ([said("wizard", "x")], "messages[0].role", "invalid_value"),
        (["x"], "messages[0]", "invalid_type"),
        ([said("user", 3)], "messages[0].content", "invalid_type"),
        ([said("user", "x", name="Ada L.")], "messages[0].name", "invalid_value"),
        ([said("system", "x", name="</name>")], "messages[0].name", "invalid_value"),
        ([{"role": "user"}], "messages[0].content", "missing_required_parameter"),
        ([said("user", [{"type": "input_audio"}])], "messages[0].content[0].type", "invalid_value"),
        ([said("user", "x"), called("a"), said("user", "y")], "messages[1]", "invalid_value"),
        ([said("user", "x"), called("a")], "messages[1]", "invalid_value"),
        ([said("user", "x"), called("a", "a"), said("tool", "y", tool_call_id="a")], "messages[1]", "invalid_value"),
        ([said("user", "x"), said("tool", "y", tool_call_id="a")], "messages[1]", "invalid_value"),
        ([said("user", "x"), said("tool", "y")], "messages[1].tool_call_id", "missing_required_parameter"),
        (
            [said("user", "x"), {"role": "assistant", "tool_calls": [{"type": "custom"}]}],
            "messages[1].tool_calls[0].type",
            "unsupported_value",
        ),
        (
            [said("user", "x"), {"role": "assistant", "tool_calls": [{"id": "a"}]}],
            "messages[1].tool_calls[0]",
            "invalid_type",
        ),
        ([said("user", "x"), said("assistant", None, audio={"id": "a"})], "messages[1].audio", "unsupported_value"),
        ([said("user", [IMAGE] * (MAX_IMAGES + 1))], "messages", "too_many_images"),
    ],
)
def test_an_unsupported_message_is_refused_with_its_place(messages: list[Any], param: str, code: str) -> None:
    error = refusal(*messages)

    assert (error.param, error.code) == (param, code)


def wants(name: str, arguments: str = "{}") -> dict[str, Any]:
    """Return an assistant's message with the older kind of call."""
    return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}}


def use(name: str, **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"function_{name}", "name": name, "input": input}


def result(name: str, *content: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": f"function_{name}"}
    return {**block, "content": list(content)} if content else block


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (
            [wants("f", '{"a": 1}'), said("user", "y")],
            [("assistant", [use("f", a=1)]), ("user", [result("f"), text("y")])],
        ),
        ([wants("f")], [("assistant", [use("f")]), ("user", [result("f")])]),
        (
            [wants("f"), said("assistant", "y")],
            [("assistant", [use("f")]), ("user", [result("f")]), ("assistant", [text("y")]), ("user", [GO_ON])],
        ),
        (
            [wants("f"), {"role": "function", "name": "f", "content": "r"}],
            [("assistant", [use("f")]), ("user", [result("f", text("r"))])],
        ),
        (
            [wants("f"), {"role": "function", "name": "g", "content": "r"}],
            [("assistant", [use("f")]), ("user", [result("f"), text(FOUND)])],
        ),
    ],
    ids=["a user goes on", "the last message", "the assistant goes on", "a pair", "another function's result"],
)
def test_the_older_calls_need_no_result(messages: list[Any], told: Turns) -> None:
    _, translated = turns(said("user", "x"), *messages)

    assert translated[1:] == told


def test_the_older_results_need_no_call() -> None:
    _, translated = turns(said("user", "x"), {"role": "function", "name": "g", "content": "r"}, said("user", "y"))

    assert translated == [("user", [text("x"), text(FOUND), text("y")])]


def test_calls_of_both_kinds_are_told_apart() -> None:
    both = {**called("a"), "function_call": {"name": "f", "arguments": "{}"}}

    assert "did not have response messages: a" in refusal(said("user", "x"), both, said("user", "y")).message


@pytest.mark.parametrize("content", ["", " \n", [{"type": "text", "text": ""}]])
def test_an_empty_message_alone_is_answered(content: Any) -> None:
    assert turns(said("user", content)) == (None, [("user", [SAID_NOTHING])])
    assert turns(said("system", "Be kind."), said("user", content)) == ("Be kind.", [("user", [SAID_NOTHING])])
