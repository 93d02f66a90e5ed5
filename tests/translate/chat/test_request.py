"""A request becomes a Turn."""

import json
from typing import Any

import pytest

from translate.chat.request import Translated, translate_request
from translate.chat.response_format import JSON_OBJECT_INSTRUCTION
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.turn import Turn

OLDER = "claude-sonnet-4-5"
NEWEST = "claude-opus-5-5"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def translated(show_reasoning: bool = False, **fields: Any) -> Translated:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return translate_request(decode_object(json.dumps(body).encode()), show_reasoning=show_reasoning)


def turn(show_reasoning: bool = False, **fields: Any) -> Turn:
    return translated(show_reasoning, **fields).turn


def test_a_plain_request_asks_for_nothing_but_an_answer() -> None:
    result = turn()

    assert (result.model, result.system, result.max_tokens, result.temperature) == ("sonnet", None, None, None)
    assert (result.tools, result.tool_choice, result.output_format, result.thinking) == ((), None, None, None)


def test_the_newer_name_of_the_token_limit_wins() -> None:
    assert turn(max_tokens=5).max_tokens == 5
    assert turn(max_tokens=5, max_completion_tokens=7).max_tokens == 7


@pytest.mark.parametrize(("asked", "told"), [(0, 0), (0.7, 0.7), (1, None), (1.5, 1), (2, 1)])
def test_a_temperature_above_claudes_highest_is_claudes_highest(asked: float, told: float | None) -> None:
    assert turn(model=OLDER, temperature=asked).temperature == told


def test_models_without_sampling_parameters_get_none_and_it_is_told() -> None:
    result = translated(model=NEWEST, temperature=0.2, top_p=0.5)

    assert (result.turn.temperature, result.turn.top_p) == (None, None)
    assert result.ignored == ("temperature", "top_p")


def test_the_default_temperature_is_no_wish() -> None:
    assert translated(model=NEWEST, temperature=1, top_p=1).ignored == ()


def test_models_that_take_one_sampling_parameter_get_the_temperature() -> None:
    result = translated(model=OLDER, temperature=0.2, top_p=0.5)

    assert (result.turn.temperature, result.turn.top_p, result.ignored) == (0.2, None, ("top_p",))
    assert turn(model=OLDER, top_p=0.5).top_p == 0.5


@pytest.mark.parametrize(("stop", "told"), [(None, ()), ("END", ("END",)), (["a", "b"], ("a", "b"))])
def test_stop_is_a_list_of_sequences(stop: Any, told: tuple[str, ...]) -> None:
    assert turn(stop=stop).stop_sequences == told


def test_stop_sequences_of_white_space_are_ours_and_the_others_claudes() -> None:
    result = translated(stop=["\n", "END", "\n\n"])

    assert (result.cuts, result.turn.stop_sequences) == (("\n", "\n\n"), ("END",))
    assert translated(stop="\n").turn.stop_sequences == ()


@pytest.mark.parametrize(
    ("tier", "told", "ignored"),
    [("auto", "auto", ()), ("default", "standard_only", ()), ("flex", None, ("service_tier",)), (None, None, ())],
)
def test_a_service_tier_that_claude_has_is_asked_for(tier: Any, told: str | None, ignored: tuple[str, ...]) -> None:
    result = translated(service_tier=tier)

    assert (result.turn.service_tier, result.ignored) == (told, ignored)


def test_a_search_of_the_web_is_anthropics() -> None:
    options = {"user_location": {"type": "approximate", "approximate": {"city": "Bern"}}, "search_context_size": "low"}
    result = translated(web_search_options=options)

    assert result.turn.tools == (
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "user_location": {"type": "approximate", "city": "Bern"},
        },
    )
    assert result.ignored == ("web_search_options.search_context_size",)


@pytest.mark.parametrize(
    ("model", "searches"),
    [
        ("gpt-4o-search-preview", True),
        ("gpt-4o-mini-search-preview-2025-03-11", True),
        ("gpt-5-search-api", True),
        ("gpt-4o", False),
        ("text-search-babbage-doc-001", False),
    ],
)
def test_a_model_that_always_searches_at_openai_does(model: str, searches: bool) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()

    assert [tool["name"] for tool in translate_request(decode_object(body)).turn.tools] == ["web_search"] * searches
    assert translate_request(decode_object(body), web_search=False).ignored == ("web_search_options",) * searches


def test_a_search_of_the_web_can_be_switched_off() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "web_search_options": {}}
    result = translate_request(decode_object(json.dumps(body).encode()), web_search=False)

    assert (result.turn.tools, result.ignored) == ((), ("web_search_options",))


def test_the_user_is_claudes_user_id() -> None:
    assert turn(user="u-1").metadata == {"user_id": "u-1"}
    assert turn(user="u-1", safety_identifier="s-1").metadata == {"user_id": "s-1"}


@pytest.mark.parametrize("user", ["ada@example.com", "Ada <ada@example.com>", "+44 (20) 7946-0958", "x" * 257])
def test_a_user_by_a_name_that_claude_refuses_is_told_by_a_digest(user: str) -> None:
    ids = [turn(user=name).metadata["user_id"] for name in (user, user, f"{user}1")]

    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 64
    assert not set(ids[0]) & set("@x+")


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "told"),
    [
        (NEWEST, None, None, "low"),
        (NEWEST, "none", None, "low"),
        (NEWEST, "high", {"type": "adaptive"}, "high"),
        (OLDER, None, None, None),
        (OLDER, "none", None, None),
        (OLDER, "medium", {"type": "enabled", "budget_tokens": 8192}, "medium"),
        ("claude-opus-4-6", None, None, None),
        ("claude-opus-4-6", "minimal", {"type": "adaptive"}, "low"),
    ],
)
def test_reasoning_effort_becomes_thinking_and_effort(
    model: str, effort: str | None, thinking: Any, told: str | None
) -> None:
    result = turn(model=model, reasoning_effort=effort)

    assert (result.thinking, result.effort) == (thinking, told)


def test_a_summary_of_thinking_is_asked_for_only_if_it_is_shown() -> None:
    assert turn(show_reasoning=True, model=NEWEST).thinking == {"type": "adaptive", "display": "summarized"}


def test_a_budget_leaves_room_for_the_answer_or_there_is_no_thinking() -> None:
    assert turn(model=OLDER, reasoning_effort="high", max_tokens=4096).thinking == {
        "type": "enabled",
        "budget_tokens": 2048,
    }
    assert turn(model=OLDER, reasoning_effort="high", max_tokens=1000).thinking is None


def test_claudes_own_parameters_are_passed_on() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1234}

    assert turn(model=OLDER, thinking=thinking).thinking == thinking
    assert turn(model=OLDER, top_k=5).top_k == 5
    assert translated(model=NEWEST, top_k=5).ignored == ("top_k",)


def test_while_a_model_thinks_no_tool_is_forced() -> None:
    result = turn(model=OLDER, tools=[TOOL], tool_choice="required", reasoning_effort="high")

    assert result.tool_choice is None
    assert result.system is not None
    assert "calling" in result.system


def test_models_that_think_by_budget_do_not_when_a_tools_answer_is_to_be_read() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]

    assert turn(model=OLDER, reasoning_effort="high", tools=[TOOL], messages=messages).thinking is None


def test_tools_that_only_the_history_knows_are_declared_and_not_offered() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "old", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]

    result = turn(messages=messages)

    assert [tool["name"] for tool in result.tools] == ["old"]
    assert result.tool_choice == {"type": "none"}


def test_instructions_follow_the_system_prompt() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "as json"}]

    result = turn(messages=messages, response_format={"type": "json_object"})

    assert result.system == f"Be kind.\n\n{JSON_OBJECT_INSTRUCTION}"


def test_a_schema_beyond_claudes_grammar_is_told_and_that_nothing_holds_claude_to_it() -> None:
    chain = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    strict = {**chain, "required": ["next"], "additionalProperties": False}

    wanted = [
        {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
        for schema in (strict, {**strict, "properties": {"next": {"type": "null"}}})
    ]

    loose, held = (translated(response_format=each) for each in wanted)

    assert (loose.ignored, loose.unfence) == (("response_format.json_schema.strict",), True)
    assert '"$ref":"#"' in str(loose.turn.system)
    assert (held.ignored, held.unfence, held.turn.system) == ((), False, None)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b"null", b'{"a":' * 100_000], ids=lambda body: repr(body[:6])
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(OpenAIError) as caught:
        translate_request(decode_object(body))

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"messages": "x"}, "messages"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {}}, "thinking.type"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"n": 0}, "n"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"invented": 1}, "invented"),
    ],
)
def test_an_invalid_field_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        turn(**fields)

    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(OpenAIError) as caught:
        translate_request({"messages": []})

    assert (caught.value.param, caught.value.code) == ("model", "missing_required_parameter")


@pytest.mark.parametrize(
    ("stop", "sequences", "cuts", "ignored"),
    [
        (["", "a"], ("a",), (), ("stop[0]",)),
        (["", "\n"], (), ("\n",), ("stop[0]",)),
        ("", (), (), ("stop",)),
    ],
)
def test_an_empty_stop_sequence_stops_nothing(
    stop: Any, sequences: tuple[str, ...], cuts: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    result = translated(stop=stop)

    assert (result.turn.stop_sequences, result.cuts, result.ignored) == (sequences, cuts, ignored)
