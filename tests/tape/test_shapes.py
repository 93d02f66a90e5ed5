"""The tables of names and shapes."""

import pytest

from tape.shapes import NAMED_HEADS, SHAPES, kind_of_name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("api_key", "key"),
        ("OPENAI-API-KEY", "key"),
        ("apiKey", "key"),
        ("secretAccessKey", "key"),
        ("refreshToken", "token"),
        ("token", "token"),
        ("db.password", "password"),
        ("client_secret", "secret"),
        ("Authorization", "secret"),
        ("max_tokens", None),
        ("next_page_token", None),
        ("prompt_cache_key", None),
        ("key", None),
        ("tokenizer", None),
    ],
)
def test_a_name_says_whether_it_holds_a_secret(name: str, kind: str | None) -> None:
    assert kind_of_name(name) == kind


def test_what_finds_a_shape_is_in_lower_case_and_takes_group_one() -> None:
    assert all(head == head.lower() for shape in SHAPES for head in shape.heads)
    assert all(shape.whole.groups == 1 == shape.begun.groups for shape in SHAPES)
    assert all(head == head.lower() for head in NAMED_HEADS)
