"""Names of models, and what each can be told."""

import pytest

from translate.errors import OpenAIError
from translate.models import ALIASES, capabilities, choose_model, doubt, model_list


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "sonnet"),
        ("gpt-4o-mini", "haiku"),
        ("gpt-4o-2024-08-06", "sonnet"),
        ("GPT-4.1-nano", "haiku"),
        ("gpt-3.5-turbo", "haiku"),
        ("gpt-5", "opus"),
        ("gpt-5-mini-2025-08-07", "haiku"),
        ("gpt-5-codex", "opus"),
        ("o1-preview", "opus"),
        ("o4-mini", "haiku"),
        ("chatgpt-4o-latest", "sonnet"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "haiku"),
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("opus", "opus"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
    ],
)
def test_a_known_name_has_its_model(name: str, model: str) -> None:
    choice = choose_model(name)

    assert (choice.model, choice.known) == (model, True)


def test_an_unknown_name_goes_to_the_default_and_is_told() -> None:
    choice = choose_model("llama-3", default="haiku")

    assert (choice.model, choice.known) == ("haiku", False)


def test_the_first_pattern_that_fits_wins() -> None:
    assert choose_model("gpt-4o", {"GPT-4o": "opus", "gpt-*": "haiku"}).model == "opus"


@pytest.mark.parametrize(
    ("model", "sampling", "thinking_off", "forced_tools", "adaptive"),
    [
        ("claude-3-5-haiku-latest", "all", True, True, False),
        ("claude-sonnet-4-20250514", "all", True, True, False),
        ("claude-opus-4-1", "one", True, True, False),
        ("claude-sonnet-4-5-20250929", "one", True, True, False),
        ("claude-opus-4-6", "one", True, True, True),
        ("claude-opus-4-7", "none", True, True, True),
        ("claude-sonnet-5", "none", True, True, True),
        ("claude-opus-5-5", "none", False, False, True),
        ("haiku", "none", False, False, True),
        ("us.anthropic.claude-sonnet-4-5-v1:0", "one", True, True, False),
        ("claude-invented-9", "none", False, False, True),
    ],
)
def test_each_model_can_be_told_what_its_guide_says(
    model: str, sampling: str, thinking_off: bool, forced_tools: bool, adaptive: bool
) -> None:
    can = capabilities(model)

    assert (can.sampling, can.thinking_off, can.forced_tools, can.adaptive_thinking) == (
        sampling,
        thinking_off,
        forced_tools,
        adaptive,
    )


def test_the_list_has_claudes_names_openais_and_the_maps_plain_ones_once_each() -> None:
    ids = [model.id for model in model_list(("my-model", "gpt-4o", "gpt-*")).data]

    assert len(ids) == len(set(ids))
    assert {*ALIASES.values(), "gpt-4o", "my-model"} <= set(ids)
    assert "gpt-*" not in ids


@pytest.mark.parametrize("name", ["claude-x\r\nX-Evil: 1", "claude-\0", "claude-😀", "claude-" + "x" * 300, "claude- "])
def test_a_name_that_can_be_none_is_no_model(name: str) -> None:
    with pytest.raises(OpenAIError) as error:
        choose_model(name)
    assert (error.value.status, error.value.code) == (404, "model_not_found")
    assert len(error.value.message) < 300


@pytest.mark.parametrize(
    "model",
    ["opus", "Sonnet", "sonnet[1m]", "claude-opus-4-8", "us.anthropic.claude-opus-4-8-v1:0", "agent-x",
     "claude-opus-4@20250929", "arn:aws:bedrock:us-east-1:1:application-inference-profile/x"],
)  # fmt: skip
def test_a_model_that_can_answer_causes_no_warning(model: str) -> None:
    assert doubt(model, ["agent-x"]) is None


def test_a_mistyped_alias_is_doubted() -> None:
    assert doubt("opsu") == "'opsu' is neither an alias nor a Claude model's name (did you mean opus?)"
    assert doubt("gpt-5") == "'gpt-5' is neither an alias nor a Claude model's name"
