"""Items of the input become true turns."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.translate.chat.test_stream import START, Event, call, end, start, stop, text, thinking
from tests.translate.responses.test_stream import respond
from tests.translate.test_corpus_tools import CORPUS, MESSAGES, exchanges
from translate.chat.messages import MAX_IMAGES, SAID_NOTHING
from translate.errors import OpenAIError
from translate.responses.compaction import INSTRUCTION
from translate.responses.fold import fold
from translate.responses.input_items import REFUSED_ITEMS, ROLES, Input, in_full, translate_input
from translate.responses.reasoning import KINDS, unpack
from translate.turn import ContentBlock

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
HI = {"role": "user", "content": "Hi"}


def opened(sealed: str) -> ContentBlock | None:
    return unpack(sealed.removeprefix("sealed:").encode()) if sealed.startswith("sealed:") else None


def translated(items: Any, **options: Any) -> Input:
    return translate_input(items, **{"open_reasoning": opened, **options})


def turns(items: Any, **options: Any) -> list[tuple[str, list[Any]]]:
    return [(message.role, list(message.content)) for message in translated(items, **options).messages]


def refusal(items: Any, **options: Any) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        translated(items, **options)
    assert caught.value.status == 400
    return caught.value


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def asks(id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def gives(id: str, output: Any = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def use(id: str, name: str = "f", **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def result(id: str, words: str = "ok") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": [said(words)]}


def thought(words: str, signature: str = "sig") -> dict[str, Any]:
    block = {"type": "thinking", "thinking": words, "signature": signature}
    sealed = "sealed:" + msgspec.json.encode(block).decode()
    return {"type": "reasoning", "id": f"rs_{words}", "summary": [], "encrypted_content": sealed}


def thinks(words: str, signature: str = "sig") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


def test_a_string_is_what_the_user_says() -> None:
    assert turns("Hi") == [("user", [said("Hi")])]


@pytest.mark.parametrize(
    "content",
    ["Hi", [{"type": "input_text", "text": "Hi"}]],
    ids=["a string", "parts"],
)
@pytest.mark.parametrize("type", [{}, {"type": "message"}], ids=["short", "with its type"])
def test_a_message_may_be_short(content: Any, type: dict[str, Any]) -> None:
    assert turns([{"role": "user", "content": content, **type}]) == [("user", [said("Hi")])]


def test_neighbours_of_one_side_are_one_message() -> None:
    items = [
        HI,
        {"role": "user", "content": "there"},
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "!", "annotations": []}]},
        {"role": "user", "content": "Bye"},
    ]

    assert turns(items) == [
        ("user", [said("Hi"), said("there")]),
        ("assistant", [said("Hello"), said("!")]),
        ("user", [said("Bye")]),
    ]


def test_instructions_come_before_what_leads_the_input() -> None:
    items = [{"role": "system", "content": "b"}, {"role": "developer", "content": "c"}, HI]

    assert translated(items, instructions="a").system == "a\n\nb\n\nc"


def test_an_instruction_within_the_conversation_stays_where_it_is() -> None:
    items = [HI, {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}]

    assert turns(items) == [("user", [said("Hi"), said("<system>\nBe brief.\n</system>")])]
    assert translated(items).system is None


def test_instructions_alone_become_the_users_words() -> None:
    assert turns([], instructions="Write a poem.") == [("user", [said("Write a poem.")])]


def test_a_refusal_is_what_the_assistant_said() -> None:
    items = [HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, HI]

    assert turns(items)[1] == ("assistant", [said("No.")])


def test_empty_text_says_nothing() -> None:
    items = [
        HI,
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "input_text", "text": " "}]},
    ]

    assert turns(items) == [("user", [said("Hi")])]


def test_images_and_files_are_claudes() -> None:
    content = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        {"type": "input_image", "image_url": "https://example.com/i.png"},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        {"type": "input_file", "file_data": base64.b64encode(b"x,y").decode(), "filename": "a.csv"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_file", "file_url": "https://example.com/b.pdf", "filename": "b.pdf"},
    ]

    assert turns([{"role": "user", "content": content}])[0][1] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/i.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "x,y"},
            "title": "a.csv",
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/b.pdf"}, "title": "b.pdf"},
    ]


PART = "input[0].content[0]"


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "input_text"}, f"{PART}.text", "missing_required_parameter"),
        ({"type": "input_audio"}, f"{PART}.type", "invalid_value"),
        ({"type": "output_text", "text": "x"}, f"{PART}.type", "invalid_value"),
        ({"type": "input_image"}, f"{PART}.image_url", "missing_required_parameter"),
        ({"type": "input_image", "image_url": {"url": "x"}}, f"{PART}.image_url", "invalid_type"),
        ({"type": "input_image", "image_url": "ftp://x"}, f"{PART}.image_url", "invalid_image_url"),
        ({"type": "input_image", "image_url": "https://[x"}, f"{PART}.image_url", "invalid_image_url"),
        ({"type": "input_image", "file_id": "file-1"}, f"{PART}.file_id", "unsupported_value"),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            f"{PART}.image_url",
            "invalid_image_format",
        ),
        ({"type": "input_file"}, f"{PART}.file_data", "missing_required_parameter"),
        ({"type": "input_file", "file_id": "file-1"}, f"{PART}.file_id", "unsupported_value"),
        ({"type": "input_file", "file_data": "!"}, f"{PART}.file_data", "invalid_base64"),
        ({"type": "input_file", "file_data": "AAAA"}, f"{PART}.file_data", "unsupported_file"),
        ({"type": "input_file", "file_url": "http://x"}, f"{PART}.file_url", "invalid_value"),
        ({"type": "input_file", "file_url": "https://[x"}, f"{PART}.file_url", "invalid_value"),
        ({"type": "input_file", "file_url": 1}, f"{PART}.file_url", "invalid_value"),
        ("Hi", PART, "invalid_type"),
    ],
)
def test_a_part_is_refused_by_its_place(part: Any, param: str, code: str) -> None:
    error = refusal([{"role": "user", "content": [part]}])

    assert (error.param, error.code) == (param, code)
    assert ".file." not in error.message
    assert ".url'" not in error.message


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_only_the_user_shows_images(role: str) -> None:
    part = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}

    assert "input_image" not in ROLES[role]
    assert refusal([{"role": role, "content": [part]}, HI]).param == "input[0].content[0].type"


def test_a_call_and_its_output_are_claudes() -> None:
    items = [HI, asks("call_1", "look", '{"a": 1}'), gives("call_1", "found")]

    assert turns(items) == [
        ("user", [said("Hi")]),
        ("assistant", [use("call_1", "look", a=1)]),
        ("user", [result("call_1", "found")]),
    ]


def test_a_custom_tools_call_and_its_output_are_claudes() -> None:
    items = [
        {"role": "user", "content": "Go."},
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]

    assert turns(items)[1:] == [("assistant", [use("c", "patch", input="*** x")]), ("user", [result("c", "done")])]


def test_a_call_in_a_namespace_has_claudes_name() -> None:
    items = [{"role": "user", "content": "Go."}, {**asks("c", "look"), "namespace": "crm"}, gives("c")]

    assert turns(items)[1] == ("assistant", [use("c", "crm__look")])


def test_a_search_for_tools_is_a_call_and_what_it_finds_is_offered() -> None:
    items = [
        {"role": "user", "content": "Go."},
        {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "crm"}},
        {
            "type": "tool_search_output",
            "call_id": "c",
            "execution": "client",
            "tools": [{"type": "function", "name": "f"}],
        },
    ]

    told = "These tools can be called now: f."
    assert turns(items)[1:] == [("assistant", [use("c", "tool_search", query="crm")]), ("user", [result("c", told)])]
    assert translated(items).tools == (("input[2].tools[0]", {"type": "function", "name": "f"}),)


def test_a_search_for_tools_that_openai_did_only_offers() -> None:
    items = [
        {"type": "tool_search_call", "call_id": None, "execution": "server", "arguments": {}},
        {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [{"type": "function"}]},
        {"role": "user", "content": "Go."},
    ]

    assert (translated(items).ignored, len(translated(items).tools)) == (("input[0]",), 1)


def test_an_earlier_search_of_the_web_has_no_effect() -> None:
    items = [{"type": "web_search_call", "id": "ws_1", "status": "completed"}, {"role": "user", "content": "Go."}]

    assert translated(items).ignored == ("input[0]",)


def test_a_message_between_agents_is_a_user_message() -> None:
    content = [
        {"type": "input_text", "text": "Task:"},
        {"type": "encrypted_content", "encrypted_content": "Count."},
    ]

    assert turns([{"type": "agent_message", "author": "/root", "content": content}]) == [
        ("user", [said("Task:"), said("Count.")])
    ]


TRIGGER = {"type": "compaction_trigger"}
SUMMARY = {"type": "compaction", "id": "cmp_1", "encrypted_content": 'sealed:{"type":"text","text":"We counted."}'}


def test_a_compaction_trigger_asks_claude_for_notes() -> None:
    result = translated([{"role": "user", "content": "Count."}, TRIGGER])

    assert result.compact
    assert result.messages[-1].content == (said("Count."), said(INSTRUCTION))


def test_a_summary_of_ours_stands_for_what_it_sums_up() -> None:
    ((_, content),) = turns([SUMMARY, {"role": "user", "content": "Go on."}])

    assert "We counted." in content[0]["text"]
    assert content[1] == said("Go on.")


def test_a_summary_that_was_asked_for_stands_for_all_before_it() -> None:
    before = [{"role": "user", "content": "Count."}, asks("c"), gives("c"), TRIGGER, SUMMARY]
    result = translated([{"role": "user", "content": "Go on."}], previous=before)

    assert [message.role for message in result.messages] == ["user"]
    assert not result.compact


@pytest.mark.parametrize("answer", [[], [{"role": "assistant", "content": "No."}]])
def test_a_summary_that_was_asked_for_and_not_made_leaves_the_conversation_as_it_was(answer: list[Any]) -> None:
    before = [{"role": "user", "content": "Count."}, TRIGGER, *answer]
    result = translated([{"role": "user", "content": "Go on."}], previous=before)

    assert result.messages[0].content[0] == said("Count.")
    assert result.messages[-1].content[-1] == said("Go on.")
    assert not result.compact


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"role": "user", "content": "Hi"}, TRIGGER, {"role": "user", "content": "Hi"}], "input[1]"),
        ([TRIGGER], "input[0]"),
        ([{**SUMMARY, "encrypted_content": "of another's"}], "input[0].encrypted_content"),
        (
            [{**SUMMARY, "encrypted_content": 'sealed:{"type":"thinking","thinking":"x","signature":"y"}'}],
            "input[0].encrypted_content",
        ),
    ],
)
def test_an_item_that_prevents_compaction_is_refused_with_its_place(items: list[Any], param: str) -> None:
    assert refusal(items).param == param


def test_an_earlier_mcp_call_becomes_a_call_and_its_result() -> None:
    call = {"type": "mcp_call", "id": "mcp_1", "server_label": "crm", "name": "look", "arguments": '{"a": 1}'}
    items = [
        {"role": "user", "content": "Go."},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "crm", "tools": []},
        {**call, "output": "yes", "error": None},
        {**call, "id": "mcp_2", "error": "no such thing"},
        {"role": "user", "content": "And?"},
    ]

    _, first, given, second, last = turns(items)
    assert first == ("assistant", [use("mcp_1", "crm__look", a=1)])
    assert given == ("user", [result("mcp_1", "yes")])
    assert second == ("assistant", [use("mcp_2", "crm__look", a=1)])
    assert last[1][0] == {**result("mcp_2", "no such thing"), "is_error": True}


def test_an_item_may_set_the_effort_from_there_on() -> None:
    update = {"type": "configuration_update", "reasoning": {"effort": "low"}}

    assert translated([{"role": "user", "content": "Go."}, update]).effort == "low"
    assert translated("Go.").effort is None


def test_an_output_may_be_parts() -> None:
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://example.com/i.png"}]
    items = [HI, asks("a"), gives("a", parts)]

    assert turns(items)[2][1][0]["content"] == [
        said("see"),
        {"type": "image", "source": {"type": "url", "url": "https://example.com/i.png"}},
    ]


def test_an_empty_output_has_no_content() -> None:
    assert turns([HI, asks("a"), gives("a", "")])[2] == ("user", [{"type": "tool_result", "tool_use_id": "a"}])


def test_a_part_of_an_output_is_refused_by_its_place() -> None:
    assert refusal([HI, asks("a"), gives("a", [{"type": "x"}])]).param == "input[2].output[0].type"
    assert refusal([HI, asks("a"), gives("a", [1])]).param == "input[2].output[0]"


def test_calls_at_once_are_one_turn_and_so_are_their_outputs() -> None:
    items = [HI, asks("a"), asks("b"), gives("b"), gives("a")]

    assert turns(items)[1:] == [("assistant", [use("a"), use("b")]), ("user", [result("b"), result("a")])]


def test_calls_one_after_the_other_are_turns_of_their_own() -> None:
    items = [HI, asks("a"), gives("a"), asks("b"), gives("b"), {"role": "assistant", "content": "Done"}, HI]

    assert turns(items)[1:] == [
        ("assistant", [use("a")]),
        ("user", [result("a")]),
        ("assistant", [use("b")]),
        ("user", [result("b")]),
        ("assistant", [said("Done")]),
        ("user", [said("Hi")]),
    ]


def test_an_output_is_carried_to_the_end_of_its_calls_turn() -> None:
    items = [HI, asks("a"), {"role": "user", "content": "Wait"}, gives("a")]

    assert turns(items)[1:] == [("assistant", [use("a")]), ("user", [result("a"), said("Wait")])]


def test_an_output_that_comes_late_still_goes_with_its_call() -> None:
    items = [HI, asks("a"), asks("b"), gives("a"), asks("c"), gives("b"), gives("c")]

    assert turns(items)[1:] == [
        ("assistant", [use("a"), use("b")]),
        ("user", [result("a"), result("b")]),
        ("assistant", [use("c")]),
        ("user", [result("c")]),
    ]


def test_an_id_that_is_used_again_is_made_another() -> None:
    items = [HI, asks("a"), gives("a", "1"), asks("a"), gives("a", "2")]

    assert turns(items)[1:] == [
        ("assistant", [use("a")]),
        ("user", [result("a", "1")]),
        ("assistant", [use("a-2")]),
        ("user", [result("a-2", "2")]),
    ]


def test_an_output_that_is_given_again_is_passed_over() -> None:
    earlier = [HI, asks("a"), gives("a"), asks("b")]

    assert turns([gives("a"), gives("b")], previous=earlier) == turns([gives("b")], previous=earlier)


def test_a_call_without_an_output_is_refused_in_openais_words() -> None:
    assert refusal([HI, asks("a")]).message == "No tool output found for function call a."


@pytest.mark.parametrize(
    "items", [[HI, gives("a")], [HI, asks("a"), gives("a"), gives("a", "else")], [HI, gives("a"), asks("a")]]
)
def test_an_output_without_a_call_is_refused_in_openais_words(items: list[Any]) -> None:
    assert refusal(items).message == "No tool call found for function call output with call_id a."


def test_thinking_comes_before_what_followed_from_it() -> None:
    items = [HI, thought("one"), asks("a"), gives("a"), thought("two"), {"role": "assistant", "content": "Done"}, HI]

    assert turns(items)[1:] == [
        ("assistant", [thinks("one"), use("a")]),
        ("user", [result("a")]),
        ("assistant", [thinks("two"), said("Done")]),
        ("user", [said("Hi")]),
    ]


def test_thinking_of_other_origin_has_no_effect_and_is_told() -> None:
    items = [
        HI,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        asks("a"),
        gives("a"),
    ]

    assert turns(items)[1] == ("assistant", [use("a")])
    assert translated(items).ignored == ("input[1]",)


def test_thinking_without_content_is_found_by_its_id() -> None:
    bare = {"type": "reasoning", "id": "rs_one", "summary": []}

    assert turns([HI, bare, asks("a"), gives("a")], stored={"rs_one": thought("one")})[1] == (
        "assistant",
        [thinks("one"), use("a")],
    )
    assert translated([HI, bare, asks("a"), gives("a")]).ignored == ("input[1]",)


def test_thinking_that_nothing_followed_is_left_out() -> None:
    items = [HI, thought("one"), {"role": "user", "content": "Well?"}]

    assert turns(items) == [("user", [said("Hi"), said("Well?")])]


@pytest.mark.parametrize(
    ("items", "began"),
    [
        ([HI, thought("one"), asks("a"), gives("a")], True),
        ([HI, asks("a"), gives("a")], False),
        ([HI], False),
    ],
)
def test_whether_the_last_turn_thought_is_known(items: list[Any], began: bool) -> None:
    assert translated(items).thought is began


def test_previous_items_come_first() -> None:
    previous = [HI, asks("a")]

    assert turns([gives("a")], previous=previous) == [
        ("user", [said("Hi")]),
        ("assistant", [use("a")]),
        ("user", [result("a")]),
    ]
    assert translated([gives("a")], previous=previous).items == (in_full(gives("a")),)


def test_items_without_effect_in_the_history_are_not_reported_again() -> None:
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}

    assert translated([HI], previous=[HI, foreign]).ignored == ()


@pytest.mark.parametrize("reference", [{"id": "msg_1"}, {"type": "item_reference", "id": "msg_1"}])
def test_a_reference_is_the_item_it_refers_to(reference: dict[str, Any]) -> None:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": "Hello"}
    items = [HI, reference, HI]

    assert turns(items, stored={"msg_1": message})[1] == ("assistant", [said("Hello")])
    assert translated(items, stored={"msg_1": message}).items == tuple(map(in_full, (HI, message, HI)))
    assert turns(items, previous=[message])[2] == ("assistant", [said("Hello")])


def test_a_reference_to_nothing_is_refused() -> None:
    error = refusal([HI, {"type": "item_reference", "id": "msg_1"}])

    assert (error.param, error.message) == ("input[1]", "Item with id 'msg_1' not found.")


def test_a_stored_reference_cannot_refer_to_itself() -> None:
    itself = {"type": "item_reference", "id": "x"}

    assert refusal([HI, itself], stored={"x": itself}).param == "input[1]"


def test_tools_that_an_item_offers_are_named_by_their_path() -> None:
    items = [HI, {"type": "additional_tools", "role": "developer", "tools": ["a", "b"]}]

    assert translated(items).tools == (("input[1].tools[0]", "a"), ("input[1].tools[1]", "b"))


@pytest.mark.parametrize("kind", REFUSED_ITEMS)
def test_every_other_item_is_refused_by_name(kind: str) -> None:
    error = refusal([HI, {"type": kind}])

    assert (error.param, error.code) == ("input[1].type", "unsupported_value")
    assert repr(kind) in error.message


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ("Hi", "input[1]", "invalid_type"),
        ({"type": "nonsense"}, "input[1].type", "invalid_value"),
        ({"type": 1}, "input[1].type", "invalid_value"),
        ({}, "input[1].role", "missing_required_parameter"),
        ({"role": "user"}, "input[1].content", "missing_required_parameter"),
        ({"role": "tool", "content": "x"}, "input[1].role", "invalid_type"),
        ({"role": "user", "content": 1}, "input[1].content", "invalid_type"),
        ({"type": "function_call", "call_id": "", "name": "f", "arguments": ""}, "input[1].call_id", "invalid_type"),
        ({"type": "function_call_output", "call_id": "a"}, "input[1].output", "missing_required_parameter"),
        ({"type": "reasoning", "encrypted_content": 1}, "input[1].encrypted_content", "invalid_type"),
    ],
)
def test_an_item_is_refused_by_its_place(item: Any, param: str, code: str) -> None:
    error = refusal([HI, item])

    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize("items", ["", " ", [{"role": "user", "content": " "}]])
def test_an_empty_message_alone_is_answered(items: Any) -> None:
    assert turns(items) == [("user", [SAID_NOTHING])]
    assert translated(items, instructions="Be kind.").system == "Be kind."


@pytest.mark.parametrize("items", [[], [{"role": "assistant", "content": ""}]])
def test_there_must_be_something_to_answer(items: Any) -> None:
    assert refusal(items).param == "input"


def written(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@pytest.mark.parametrize(
    ("item", "more"),
    [
        (
            {"role": "user", "content": "Hi"},
            {"type": "message", "status": "completed", "content": [{"type": "input_text", "text": "Hi"}]},
        ),
        (
            {"type": None, "role": "assistant", "content": "Hm.", "status": "incomplete"},
            {"type": "message", "content": [written("Hm.")]},
        ),
        (
            {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}], "status": None},
            {"type": "message", "status": "completed"},
        ),
        (asks("c"), {"status": "completed"}),
        ({"type": "additional_tools", "role": "developer", "tools": []}, {}),
    ],
)
def test_an_item_is_kept_as_openai_gives_it_back(item: Any, more: Any) -> None:
    assert translated([HI, item], generate=False).items[-1] == {**item, **more}


@pytest.mark.parametrize("items", [[], [{"role": "assistant", "content": "Hm."}], [asks("c")]])
def test_without_generation_the_input_may_end_with_any_item(items: Any) -> None:
    assert translated(items, generate=False).messages[-1].role == "user"
    assert translated(items, generate=False).items == tuple(map(in_full, items))


def test_after_the_assistants_last_word_the_next_is_asked_for() -> None:
    assert turns([HI, {"role": "assistant", "content": "Hello"}])[1:] == [
        ("assistant", [said("Hello")]),
        ("user", [said("<system>\nWrite the assistant's next message.\n</system>")]),
    ]


def test_more_images_than_claude_takes_are_refused() -> None:
    image = {"type": "input_image", "image_url": "https://example.com/i.png"}
    items = [{"role": "user", "content": [image] * MAX_IMAGES}, asks("a"), gives("a", [image])]

    assert refusal(items).code == "too_many_images"
    assert len(translated(items[:1]).messages) == 1


def sent_back(events: list[Event]) -> list[dict[str, Any]]:
    """Return what Claude is told when an app sends an answer's output back and goes on."""
    items: list[Any] = msgspec.to_builtins(fold(respond(events, show_encrypted=True)))["output"]
    outputs = [gives(item["call_id"]) for item in items if item["type"] == "function_call"]
    messages = translated([HI, *items, *outputs, HI]).messages
    return [dict(block) for message in messages if message.role == "assistant" for block in message.content]


blocks = st.lists(st.sampled_from(["text", "call", "thinking", "redacted"]), min_size=1, max_size=6)


@given(blocks)
def test_an_answer_that_is_sent_back_is_what_claude_said(kinds: list[str]) -> None:
    events: list[Event] = [START]
    wanted: list[dict[str, Any]] = []
    for index, kind in enumerate([*kinds, "text"]):
        match kind:
            case "text" if wanted and wanted[-1]["type"] == "text":
                events += text(f" and {index}", index=index)
                wanted[-1] = said(wanted[-1]["text"] + f" and {index}")
            case "text":
                events += text(f"word {index}", index=index)
                wanted.append(said(f"word {index}"))
            case "call":
                events += call(f"toolu_{index}", "f", '{"n": 1}', index=index)
                wanted.append(use(f"toolu_{index}", n=1))
            case "thinking":
                events += thinking(f"Hm {index}", f"sig {index}", index)
                wanted.append(thinks(f"Hm {index}", f"sig {index}"))
            case _:
                events += [start({"type": "redacted_thinking", "data": f"data {index}"}, index), stop(index)]
                wanted.append({"type": "redacted_thinking", "data": f"data {index}"})

    assert sent_back([*events, end()]) == wanted


@pytest.mark.skipif(not MESSAGES.exists(), reason=f"the shared corpus is not at {CORPUS}")
@pytest.mark.parametrize("recorded", [one for one in exchanges() if "mcp_tool_use" not in str(one.values)])
def test_a_recorded_answer_that_is_sent_back_keeps_its_thinking_and_its_calls(recorded: list[Event]) -> None:
    wanted = recorded_blocks(recorded)
    while wanted and wanted[-1]["type"] in KINDS:
        wanted.pop()

    assert [block for block in sent_back(recorded) if block["type"] != "text"] == [
        block for block in wanted if block["type"] != "text"
    ]


def recorded_blocks(recorded: list[Event]) -> list[dict[str, Any]]:
    """Return the blocks that an app sees: those that were signed, called or said."""
    found: dict[int, dict[str, Any]] = {}
    arguments: dict[int, str] = {}
    for event in recorded:
        match event:
            case {"type": "content_block_start", "content_block": {"type": "tool_use"} as block, "index": index}:
                found[index] = use(block["id"], block["name"])
                arguments[index] = ""
            case {"type": "content_block_start", "content_block": {"type": "thinking"}, "index": index}:
                found[index] = thinks("", "")
            case {"type": "content_block_start", "content_block": {"type": "redacted_thinking"} as block, "index": i}:
                found[i] = {"type": "redacted_thinking", "data": block["data"]}
            case {"type": "content_block_start", "content_block": {"type": "text"} as block, "index": index}:
                found[index] = said(block.get("text", ""))
            case {"type": "content_block_delta", "delta": {"partial_json": piece}, "index": index} if (
                index in arguments
            ):
                arguments[index] += piece
            case {"type": "content_block_delta", "delta": {"thinking": piece}, "index": index}:
                found[index]["thinking"] += piece
            case {"type": "content_block_delta", "delta": {"signature": piece}, "index": index}:
                found[index]["signature"] += piece
            case {"type": "content_block_delta", "delta": {"text": piece}, "index": index}:
                found[index]["text"] += piece
    for index, written in arguments.items():
        try:
            found[index]["input"] = msgspec.json.decode(written or "{}")
        except msgspec.DecodeError:
            found[index]["input"] = {"invalid_json": written}
    return [
        block for block in found.values() if block.get("signature", block.get("text", "x").strip()) or "data" in block
    ]
