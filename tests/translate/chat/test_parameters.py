"""Every parameter has one fate."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS, Fate, Parameter, check_parameters
from translate.errors import OpenAIError

SPEC = (
    Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus") / "openai-openapi.yaml"
)
CLAUDES_OWN = {"top_k", "thinking"}
OURS = {"session_id"}

TABLE = {
    "good": Parameter(Fate.HONOURED, ""),
    "idle": Parameter(Fate.ACCEPTED, "", unless=(0,)),
    "bad": Parameter(Fate.REFUSED, "because", unless=(1, [])),
}


def test_parameters_without_effect_are_reported() -> None:
    assert check_parameters({"good": 1, "idle": 2}, TABLE) == ["idle"]


@pytest.mark.parametrize("body", [{"idle": None}, {"idle": 0}, {"bad": None}, {"bad": 1}, {"bad": []}])
def test_a_value_that_asks_for_nothing_special_is_fine(body: dict[str, Any]) -> None:
    assert check_parameters(body, TABLE) == []


@pytest.mark.parametrize("value", [True, 2, "1"])
def test_an_unsupported_parameter_is_refused_by_name(value: Any) -> None:
    with pytest.raises(OpenAIError) as caught:
        check_parameters({"bad": value}, TABLE)

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "bad", "unsupported_parameter")
    assert "because" in caught.value.message


def test_a_name_that_openai_does_not_know_is_refused_as_openai_does() -> None:
    with pytest.raises(OpenAIError) as caught:
        check_parameters({"temperatur": 1}, TABLE)

    assert (caught.value.param, caught.value.code) == ("temperatur", "unknown_parameter")


@pytest.mark.skipif(not SPEC.exists(), reason=f"OpenAI's OpenAPI document is not at {SPEC}")
def test_every_field_of_openais_request_has_a_row() -> None:
    schemas = yaml.load(SPEC.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = schemas["components"]["schemas"]

    def fields(schema: dict[str, Any]) -> set[str]:
        if "$ref" in schema:
            return fields(schemas[schema["$ref"].rsplit("/", 1)[1]])
        found = set(schema.get("properties", {}))
        return found.union(*[fields(part) for part in schema.get("allOf", [])])

    assert set(CHAT_COMPLETION_PARAMETERS) == fields(schemas["CreateChatCompletionRequest"]) | CLAUDES_OWN | OURS
