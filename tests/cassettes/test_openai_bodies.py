"""Malformed bodies are read as far as they can be, and nothing is raised."""

from typing import Any

import pytest

from cassettes.openai_bodies import (
    array,
    error_in,
    inner,
    last_message,
    mapping,
    model_of,
    parsed,
    tool_name,
    tools_of,
    usage_in,
)

MALFORMED: list[Any] = [None, 1, "text", [], [[]], {}, {"model": 1, "usage": [], "messages": 2, "tools": {}}]


@pytest.mark.parametrize(
    ("body", "value"), [(b'{"a": 1}', {"a": 1}), ("[1]", [1]), (b"{", None), (b"\xff", None), (b"[" * 10**5, None)]
)
def test_a_body_that_is_no_json_is_none(body: str | bytes, value: Any) -> None:
    assert parsed(body) == value


@pytest.mark.parametrize("body", MALFORMED)
def test_a_malformed_body_names_no_model_no_usage_no_error_and_no_tool(body: Any) -> None:
    assert (model_of(body), usage_in(body), error_in(body), tools_of(body)) == (None, None, None, [])


def test_objects_and_arrays_are_told_from_other_values() -> None:
    assert (mapping({"a": 1}), mapping([1]), array([1]), array({"a": 1})) == ({"a": 1}, {}, [1], [])


def test_a_well_formed_answer_tells_its_model_usage_and_error() -> None:
    body = {"model": "gpt-4o", "usage": {"total_tokens": 3}, "error": {"message": "no"}}

    assert (model_of(body), usage_in(body), error_in(body)) == ("gpt-4o", {"total_tokens": 3}, {"message": "no"})


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ({"messages": ["a", "b"]}, "b"),
        ({"messages": [], "input": "words"}, "words"),
        ({"prompt": ["p"]}, "p"),
        ({"messages": 2}, 2),
        ({}, None),
        ([], None),
    ],
)
def test_the_last_message_of_each_api_is_found(body: Any, last: Any) -> None:
    assert last_message(body) == last


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "custom", "custom": {"name": "run"}}, "run"),
        ({"type": "function", "name": "add"}, "add"),
        ({"type": "web_search"}, "web_search"),
        ({"function": "no object"}, None),
        ({"name": 1}, None),
        ("no tool", None),
    ],
)
def test_a_tool_is_named_whichever_api_declared_it(tool: Any, name: str | None) -> None:
    assert tool_name(tool) == name


def test_a_call_s_name_may_stand_in_an_object_of_another_key() -> None:
    assert inner({"function_call": {"name": "add"}}, "function_call") == {"name": "add"}
    assert inner({"name": "add"}) is None


def test_the_older_parameter_for_tools_counts_as_well() -> None:
    assert tools_of({"tools": [1], "functions": [2]}) == [1, 2]
