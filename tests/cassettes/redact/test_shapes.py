"""The tables of names and shapes."""

import pytest

from cassettes.redact.shapes import MAX_NAME, NAMED_WORDS, SHAPES, kind_of_name


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
        ("smtp_pass", "password"),
        ("prompt_cache_key", None),
        ("key", None),
        ("tokenizer", None),
    ],
)
def test_a_name_says_whether_it_holds_a_secret(name: str, kind: str | None) -> None:
    assert kind_of_name(name) == kind


def test_the_end_of_a_long_name_says_what_it_holds() -> None:
    assert kind_of_name("x" * 10 * MAX_NAME + "_password") == "password"
    assert kind_of_name("password_" + "x" * 10 * MAX_NAME) is None


def test_the_table_can_be_looked_for() -> None:
    assert all(shape.head.isascii() and shape.least > 0 for shape in SHAPES)
    assert all(shape.most is None or shape.most >= shape.least for shape in SHAPES)
    assert all((shape.behind is None) == (shape.reach == 0) for shape in SHAPES)
    assert len({(shape.head, shape.characters, shape.least) for shape in SHAPES}) == len(SHAPES)
    assert NAMED_WORDS.lower() == NAMED_WORDS
