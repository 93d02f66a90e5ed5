"""The model map as a person reads it."""

from fnmatch import fnmatchcase

import pytest

from translate.model_table import ANY_OTHER, model_table, priced, summary
from translate.models import DEFAULT_MODEL_MAP, choose_model
from translate.prices import cost


def test_the_table_has_the_built_in_patterns_in_their_order_and_then_any_other() -> None:
    rows = model_table({}, "sonnet")

    assert [row.pattern for row in rows] == [*DEFAULT_MODEL_MAP, ANY_OTHER]
    assert {row.source for row in rows} == {"default"}


def test_own_patterns_come_first_and_replace_built_in_ones() -> None:
    rows = model_table(
        {"my-*": "claude-haiku-4-5", "o1*": "sonnet"}, "haiku", source="flag", default_source="UNDERSTUDY_DEFAULT_MODEL"
    )

    assert [(row.pattern, row.model, row.source) for row in rows[:2]] == [
        ("my-*", "claude-haiku-4-5", "flag"),
        ("o1*", "sonnet", "flag"),
    ]
    assert [row.pattern for row in rows].count("o1*") == 1
    assert (rows[-1].pattern, rows[-1].model, rows[-1].source) == (ANY_OTHER, "haiku", "UNDERSTUDY_DEFAULT_MODEL")


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-mini", "o1", "o3-pro", "gpt-4o", "gpt-4o-mini", "text-davinci-003"])
def test_the_row_for_a_name_says_who_answers(name: str) -> None:
    rows = model_table({}, "sonnet")
    fitting = next((row for row in rows if fnmatchcase(name, row.pattern)), rows[-1])

    assert fitting.model == choose_model(name).model


def test_prices_are_those_that_turns_are_billed_with() -> None:
    for row in model_table({}, "sonnet"):
        assert row.price is not None
        thousand = cost(row.resolved, {"input_tokens": 1000, "output_tokens": 1000})
        assert thousand == pytest.approx((row.price.input + row.price.output) / 1000)


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    row = model_table({"x": "claude-tragedian-9"}, "sonnet")[0]

    assert (row.resolved, row.price) == ("claude-tragedian-9", None)
    assert priced(row.price) == "price unknown"


def test_the_summary_has_a_line_for_each_model() -> None:
    lines = summary(model_table({"x": "claude-tragedian-9"}, "sonnet"))

    assert lines[0] == "claude-tragedian-9 (price unknown) answers for x"
    assert any(
        line.startswith("claude-opus-5-5 ($4 in, $20 out per million tokens) answers for o1*, ") for line in lines
    )
    assert len(lines) == 4
