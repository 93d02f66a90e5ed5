"""A request becomes a Turn, and what the response repeats."""

import json
from typing import Any

import msgspec
import pytest

from tests.translate.responses.test_input_items import HI, asks, gives, opened, said, thinks, thought
from translate.chat.request import translate_request
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.responses.offered import Offered
from translate.responses.request import TranslatedResponse, needed, read_request, translate_response_request
from translate.turn import Message

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
TOOL = {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}
SONNET = "claude-sonnet-4-5"


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-5", "input": "Hi", **fields}).encode()


def translated(options: dict[str, Any] | None = None, **fields: Any) -> TranslatedResponse:
    return translate_response_request(
        read_request(decode_object(body(**fields))), **{"open_reasoning": opened, **(options or {})}
    )


def refusal(options: dict[str, Any] | None = None, **fields: Any) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        translated(options, **fields)
    assert caught.value.status == 400
    return caught.value


def test_a_plain_request_is_a_plain_turn() -> None:
    result = translated()

    assert result.turn.model == "opus"
    assert result.turn.messages == (Message("user", (said("Hi"),)),)
    assert (result.turn.system, result.turn.max_tokens, result.turn.tool_choice) == (None, None, None)
    assert result.ignored == ()
    assert result.model_known
    assert (result.options.show_summary, result.options.show_encrypted, result.options.unfence) == (False, False, False)


def test_parameters_that_change_the_answer_reach_claude() -> None:
    turn = translated(
        model=SONNET,
        instructions="Be brief.",
        max_output_tokens=100,
        temperature=0.5,
        service_tier="default",
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}},
        user="u",
    ).turn

    assert (turn.system, turn.max_tokens, turn.temperature) == ("Be brief.", 100, 0.5)
    assert turn.service_tier == "standard_only"
    assert [tool["name"] for tool in turn.tools] == ["f"]
    assert turn.tool_choice == {"type": "any", "disable_parallel_tool_use": True}
    assert turn.output_format == {"type": "json_schema", "schema": SCHEMA}
    assert turn.metadata == {"user_id": "u"}


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        ({}, {}),
        ({"temperature": 2, "top_p": 0.5}, {"temperature": 2, "top_p": 0.5}),
        ({"top_k": 5}, {"top_k": 5}),
        ({"reasoning": {"effort": "none"}}, {"reasoning_effort": "none"}),
        ({"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        (
            {"reasoning": {"effort": "low"}, "max_output_tokens": 1500},
            {"reasoning_effort": "low", "max_completion_tokens": 1500},
        ),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"service_tier": "flex"}, {"service_tier": "flex"}),
    ],
)
@pytest.mark.parametrize("model", ["gpt-5", SONNET, "claude-haiku-4-6", "claude-3-5-haiku-latest"])
def test_both_dialects_make_the_same_turn(model: str, fields: dict[str, Any], chat: dict[str, Any]) -> None:
    request = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **chat}
    other = translate_request(decode_object(json.dumps(request).encode()))

    result = translated(model=model, **fields)

    assert result.turn == other.turn
    assert [path.replace("reasoning.effort", "reasoning_effort") for path in result.ignored] == list(other.ignored)


@pytest.mark.parametrize("summary", [{"summary": "auto"}, {"generate_summary": "concise"}])
def test_a_summary_is_asked_of_claude(summary: dict[str, str]) -> None:
    result = translated(reasoning={"effort": "low", **summary})

    assert result.turn.thinking == {"type": "adaptive", "display": "summarized"}
    assert result.options.show_summary
    assert result.options.echo.reasoning == {
        "context": None,
        "effort": "low",
        "mode": "standard",
        "summary": next(iter(summary.values())),
    }


def test_a_summary_may_be_shown_unasked() -> None:
    assert translated({"show_reasoning": True}).options.show_summary


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, False),
        ({"store": True}, False),
        ({"store": False}, True),
        ({"include": ["reasoning.encrypted_content"]}, True),
    ],
)
def test_thinking_is_sent_along_where_it_is_asked_for_or_there_is_no_store(fields: Any, shown: bool) -> None:
    assert translated(**fields).options.show_encrypted is shown


def test_a_model_that_thinks_by_budget_goes_on_thinking_where_its_thinking_came_back() -> None:
    reasoning = {"effort": "high"}
    with_thinking = [HI, thought("Hm"), asks("a"), gives("a")]

    turn = translated(model=SONNET, input=with_thinking, tools=[{**TOOL}], reasoning=reasoning).turn
    assert turn.thinking == {"type": "enabled", "budget_tokens": 16384}
    assert turn.messages[1].content[0] == thinks("Hm")
    without = translated(model=SONNET, input=[HI, asks("a"), gives("a")], tools=[TOOL], reasoning=reasoning).turn
    assert without.thinking is None


def test_tools_that_only_the_history_calls_are_declared() -> None:
    turn = translated(input=[HI, asks("a"), gives("a")]).turn

    assert turn.tools == ({"name": "f", "input_schema": {"type": "object"}},)
    assert turn.tool_choice == {"type": "none"}


def test_tools_that_an_item_offers_are_offered() -> None:
    items = [HI, {"type": "additional_tools", "role": "developer", "tools": [{**TOOL, "name": "g"}]}]

    assert [tool["name"] for tool in translated(input=items, tools=[TOOL]).turn.tools] == ["f", "g"]


def test_a_deferred_tool_is_found_by_a_search_only_once_in_a_conversation() -> None:
    lazy = {"type": "function", "name": "f", "defer_loading": True}
    found = {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [lazy]}
    tools = [lazy, {"type": "tool_search"}]

    assert translated(tools=tools, input="Go.").options.tools["f"].deferred == lazy
    again = [
        translated(tools=tools, input=[found, {"role": "user", "content": "Go."}]),
        translated({"previous": [found]}, tools=tools, input="Go.", previous_response_id="resp_1"),
    ]
    assert [result.options.tools["f"] for result in again] == [Offered("f", "f")] * 2


def test_a_call_of_a_function_with_a_namespace_of_its_own_comes_back_under_its_plain_name() -> None:
    lazy = {**TOOL, "defer_loading": True}
    called = {**asks("a"), "namespace": "f"}

    turn = translated(tools=[lazy, {"type": "tool_search"}], input=[HI, called, gives("a")]).turn
    assert turn.messages[1].content[0]["name"] == turn.tools[0]["name"] == "f"
    namespace = {"type": "namespace", "name": "f", "tools": [TOOL]}
    turn = translated(tools=[namespace], input=[HI, called, gives("a")]).turn
    assert turn.messages[1].content[0]["name"] == turn.tools[0]["name"] == "f__f"
    offered = {"type": "additional_tools", "role": "developer", "tools": [namespace]}
    turn = translated(input=[HI, offered, called, gives("a")]).turn
    assert turn.messages[1].content[0]["name"] == turn.tools[0]["name"] == "f__f"


def test_a_function_that_an_item_offers_is_called_by_a_namespace_of_its_own() -> None:
    items = [HI, {"type": "additional_tools", "role": "developer", "tools": [TOOL]}]

    assert translated(input=items).options.tools == {"f": Offered("f", "f")}
    assert translated(input=items, tools=[TOOL]).options.tools == {}


def test_a_tool_that_an_item_offers_is_refused_by_its_place() -> None:
    items = [HI, {"type": "additional_tools", "role": "developer", "tools": [TOOL, {"type": "mcp"}]}]

    assert refusal(input=items).param == "input[1].tools[1].type"


def test_a_json_object_is_asked_for_and_its_fence_taken_off() -> None:
    result = translated(input="As JSON, please", text={"format": {"type": "json_object"}})

    assert result.options.unfence
    assert "JSON object" in str(result.turn.system)


def test_a_schema_beyond_claudes_grammar_is_asked_for_and_its_fence_taken_off() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False}
    asked = {"type": "json_schema", "name": "chain", "strict": True, "schema": schema}

    result = translated(text={"format": asked})

    assert (result.options.unfence, result.ignored) == (True, ("text.format.strict",))
    assert '"$ref":"#"' in str(result.turn.system)
    assert result.options.echo.text["format"] == {**asked, "description": None}


def test_an_item_may_set_the_format_of_the_answer() -> None:
    fields = {"a": {"type": "string"}}
    schema = {"type": "object", "properties": fields, "required": ["a"], "additionalProperties": False}
    formats = [{"type": "json_schema", "name": "x", "schema": schema}, {"type": "json_object"}, {"type": "text"}]
    updates = [{"type": "configuration_update", "text": {"format": format}} for format in formats]
    said = {"role": "user", "content": "Answer in JSON."}

    by_schema = translated(input=[said, updates[0]]).turn.output_format
    assert by_schema is not None and by_schema["schema"]["required"] == ["a"]
    assert translated(input=[said, *updates[:2]]).options.unfence
    assert translated(input=[said, updates[2]], text={"format": formats[0]}).turn.output_format is None


def test_the_word_json_may_stand_in_what_came_before() -> None:
    previous = [{"role": "user", "content": "Answer in JSON"}]
    fields: dict[str, Any] = {"previous_response_id": "resp_1", "text": {"format": {"type": "json_object"}}}

    assert translated({"previous": previous}, **fields).options.unfence
    assert refusal({"previous": [HI]}, **fields).param == "input"


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"temperature": 0.5}, ("temperature",)),
        ({"text": {"verbosity": "low"}}, ("text.verbosity",)),
        ({"reasoning": {"context": "all_turns", "mode": "pro"}}, ("reasoning.context", "reasoning.mode")),
        ({"reasoning": {"context": "auto", "mode": "standard"}, "text": {"verbosity": "medium"}}, ()),
        ({"service_tier": "priority"}, ("service_tier",)),
        ({"include": ["web_search_call.results"], "truncation": "auto"}, ("truncation", "include[0]")),
    ],
)
def test_values_without_effect_are_reported(fields: dict[str, Any], ignored: tuple[str, ...]) -> None:
    assert translated(**fields).ignored == ignored


def test_the_safety_identifier_wins_over_the_user() -> None:
    assert translated(user="u", safety_identifier="s").turn.metadata == {"user_id": "s"}
    assert translated(safety_identifier="a@example.com").turn.metadata["user_id"].isalnum()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": ""}, "model", "invalid_type"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": 1}, "input", "invalid_type"),
        ({"max_output_tokens": 1}, "max_output_tokens", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata[...]", "invalid_type"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_type"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort", "invalid_type"),
        ({"include": "x"}, "include", "invalid_type"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"conversation": "conv_1"}, "conversation", "conversation_not_found"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "conversation_not_found"),
        (
            {"conversation": "conv_1", "previous_response_id": "resp_1"},
            "previous_response_id",
            "mutually_exclusive_parameters",
        ),
        ({"nonsense": 1}, "nonsense", "unknown_parameter"),
    ],
)
def test_a_request_is_refused_by_the_name_of_what_is_wrong(fields: dict[str, Any], param: str, code: str) -> None:
    error = refusal(**fields)

    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize("fields", [{"previous_response_id": "resp_1"}, {"conversation": {"id": "conv_1"}}])
def test_a_conversation_goes_on(fields: dict[str, Any]) -> None:
    previous = [HI, {"role": "assistant", "content": "Hello"}]

    result = translated({"previous": previous}, **fields)

    assert [message.role for message in result.turn.messages] == ["user", "assistant", "user"]
    assert len(result.items) == 1


def test_a_conversation_may_go_on_without_new_input() -> None:
    assert translated({"previous": [HI]}, previous_response_id="resp_1", input=None).items == ()


def test_a_new_conversation_has_nothing_before() -> None:
    result = translated({"previous": ()}, conversation="conv_1")

    assert msgspec.to_builtins(result.options.echo)["conversation"] == {"id": "conv_1"}


def test_the_ids_to_look_up_are_known_before_the_translation() -> None:
    items = [
        HI,
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_2"},
        {"id": "msg_2"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x"},
        {"type": "message", "id": "msg_3", "role": "assistant", "content": "Hello"},
        "nonsense",
    ]
    asked = needed(read_request(decode_object(body(input=items, previous_response_id="resp_1"))))

    assert asked.item_ids == ("msg_1", "msg_2", "rs_1")
    assert (asked.previous_response_id, asked.conversation_id) == ("resp_1", None)
    assert needed(read_request(decode_object(body(conversation={"id": "conv_1"})))).conversation_id == "conv_1"


def test_the_response_repeats_the_request() -> None:
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "background": True,
        "max_output_tokens": 100,
        "max_tool_calls": 2,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "prompt_cache_retention": "in-memory",
        "reasoning": {"effort": "low", "context": "all_turns"},
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "required",
        "tools": [TOOL],
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
    }

    echo = msgspec.to_builtins(translated(**fields).options.echo)

    assert echo == {
        **fields,
        "frequency_penalty": 0.0,
        "model": "gpt-5",
        "moderation": None,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_retention": "in_memory",
        "reasoning": {"context": "all_turns", "effort": "low", "mode": "standard", "summary": None},
        "tools": [{**TOOL, "description": None, "output_schema": None}],
        "top_logprobs": 0,
    }


def test_missing_parameters_are_echoed_with_openais_defaults() -> None:
    assert msgspec.to_builtins(translated().options.echo) == {
        "model": "gpt-5",
        "instructions": None,
        "previous_response_id": None,
        "store": True,
        "background": False,
        "frequency_penalty": 0.0,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "moderation": None,
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"context": None, "effort": None, "mode": "standard", "summary": None},
        "safety_identifier": None,
        "service_tier": "auto",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
