"""Every field of a Responses request has one fate, and the table is OpenAI's and the code's."""

import json
from typing import Any

import pytest

from tests import openai_document
from tests.openai_document import DOCUMENT
from translate.chat.parameters import Fate
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.responses.asked import ResponseRequest
from translate.responses.input_items import ITEMS, REFUSED_ITEMS
from translate.responses.parameters import INCLUDE, RESPONSE_PARAMETERS, check_include
from translate.responses.request import read_request, translate_response_request
from translate.responses.tools import REFUSED_TOOLS, WEB_SEARCH
from translate.responses.wire import Response

CLAUDES_OWN = {"top_k", "thinking"}
# What OpenAI's coding agent sends.
CODEX = {"client_metadata"}
CODEX_ITEMS = {"configuration_update"}
# OpenAI's document does not have them; recorded responses do.
UNDOCUMENTED = {"store", "frequency_penalty", "presence_penalty", "tool_usage", "billing"}

needs_spec = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"OpenAI's OpenAPI document is not at {DOCUMENT}")


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return dict(openai_document.document()["components"]["schemas"])


def fields(schemas: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return fields(schemas, schemas[schema["$ref"].rsplit("/", 1)[1]])
    found = set(schema.get("properties", {}))
    return found.union(*[fields(schemas, part) for part in schema.get("allOf", [])])


def types(schemas: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Return the values of ``type`` that the alternatives of a schema allow."""
    if "$ref" in schema:
        return types(schemas, schemas[schema["$ref"].rsplit("/", 1)[1]])
    found = set(schema.get("properties", {}).get("type", {}).get("enum", []))
    if "anyOf" in schema.get("properties", {}).get("type", {}):
        found |= {word for part in schema["properties"]["type"]["anyOf"] for word in part.get("enum", [])}
    alternatives = [*schema.get("oneOf", []), *schema.get("anyOf", [])]
    return found.union(*[types(schemas, part) for part in alternatives])


@needs_spec
def test_every_field_of_openais_request_has_a_row(schemas: dict[str, Any]) -> None:
    assert set(RESPONSE_PARAMETERS) == fields(schemas, schemas["BetaCreateResponse"]) | CLAUDES_OWN | CODEX


@needs_spec
def test_every_field_that_a_response_repeats_is_openais(schemas: dict[str, Any]) -> None:
    assert set(Response.__struct_fields__) - fields(schemas, schemas["Response"]) == UNDOCUMENTED


@needs_spec
def test_every_word_of_include_has_a_row(schemas: dict[str, Any]) -> None:
    assert set(INCLUDE) == set(schemas["IncludeEnum"]["enum"])


@needs_spec
def test_every_type_of_tool_is_translated_or_refused_by_name(schemas: dict[str, Any]) -> None:
    assert types(schemas, schemas["Tool"]) <= {
        *REFUSED_TOOLS,
        *WEB_SEARCH,
        "function",
        "custom",
        "namespace",
        "tool_search",
        "mcp",
    }


@needs_spec
def test_every_type_of_item_is_translated_or_refused_by_name(schemas: dict[str, Any]) -> None:
    assert types(schemas, schemas["BetaInputItem"]) == (set(ITEMS) | set(REFUSED_ITEMS)) - CODEX_ITEMS


def test_every_honoured_parameter_is_decoded() -> None:
    honoured = {name for name, row in RESPONSE_PARAMETERS.items() if row.fate is Fate.HONOURED}

    assert honoured <= set(ResponseRequest.__struct_fields__)


def test_nothing_that_is_refused_is_decoded() -> None:
    refused = {name for name, row in RESPONSE_PARAMETERS.items() if row.fate is Fate.REFUSED}

    assert refused & set(ResponseRequest.__struct_fields__) == set()


VALUES = {
    "client_metadata": {"session": "s"},
    "background": True,
    "max_tool_calls": 3,
    "truncation": "auto",
    "context_management": [{"type": "compaction"}],
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "auto"},
    "prompt": {"id": "pmpt_1"},
    "moderation": {"model": "m"},
    "multi_agent": {"enabled": True},
    "top_logprobs": 2,
}


def request(**more: Any) -> bytes:
    return json.dumps({"model": "gpt-5", "input": "Hi", **more}).encode()


@pytest.mark.parametrize("name", [n for n, row in RESPONSE_PARAMETERS.items() if row.fate is Fate.ACCEPTED])
def test_parameters_without_effect_are_reported(name: str) -> None:
    result = translate_response_request(
        read_request(decode_object(request(**{name: VALUES[name]}))), open_reasoning=lambda _: None
    )

    assert result.ignored == (name,)


@pytest.mark.parametrize("name", [n for n, row in RESPONSE_PARAMETERS.items() if row.fate is Fate.REFUSED])
def test_an_unsupported_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        translate_response_request(
            read_request(decode_object(request(**{name: VALUES[name]}))), open_reasoning=lambda _: None
        )

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, name, "unsupported_parameter")


def test_a_request_may_say_that_it_wants_no_other_agents() -> None:
    assert read_request(decode_object(request(multi_agent={"enabled": False}))).ignored == ()


def test_entries_of_include_without_effect_are_told() -> None:
    names = ["reasoning.encrypted_content", "web_search_call.results", "file_search_call.results"]

    assert check_include(names) == ["include[1]", "include[2]"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("message.output_text.logprobs", "unsupported_value"), ("x", "invalid_value"), (1, "invalid_value")],
)
def test_entries_of_include_are_refused_by_their_place(name: Any, code: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        check_include(["reasoning.encrypted_content", name])

    assert (caught.value.param, caught.value.code) == ("include[1]", code)
