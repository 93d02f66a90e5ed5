"""A person's own patterns."""

import re

import pytest

from cassettes.redact.patterns import WINDOW, Pattern


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        (r"ACME-\d+", "ACME-12, ACME-13", ["ACME-12", "ACME-13"]),
        (r"user (\w+)", "user ann, user bob", ["ann", "bob"]),
        (r"x*", "axxb", ["xx"]),
        (r"(?i)secret-[a-z]+", "é SECRET-abc ü secret-d", ["SECRET-abc", "secret-d"]),
        (r"BEGIN[\s\S]*?END", f"{'x' * WINDOW}BEGIN{'é' * 3 * WINDOW}END BEGINEND", None),
        (r"a+\z", "aab" + "a" * 3 * WINDOW, ["a" * 3 * WINDOW]),
        (r"a+(b)?", "a" * 3 * WINDOW + "b", ["b"]),
        (r"end\z", "x" * (WINDOW - 3) + "end" + "y" * 10, []),
    ],
)
def test_every_match_is_found(pattern: str, text: str, spans: list[str] | None) -> None:
    found = [text[start:end] for start, end in Pattern(pattern).spans(text)]

    assert found == (re.findall(pattern, text) if spans is None else spans)


def test_the_search_can_begin_later() -> None:
    assert list(Pattern("é+").spans("éé aéé", 3)) == [(4, 6)]


def test_half_of_a_character_is_no_obstacle() -> None:
    assert list(Pattern("b+").spans("\ud800é bb")) == [(3, 5)]
    assert Pattern("b").replace("\ud800b", "x") == "\ud800x"


def test_the_whole_match_is_replaced() -> None:
    assert Pattern(r"order (\d+)").replace("order 1 and order 22", "<order>") == "<order> and <order>"


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", "(?<!a)b", r"(a)\1", "a*+", "a{2000}", r"\Z", "\ud800"])
def test_an_unsupported_pattern_is_refused_with_its_text(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern") as refused:
        Pattern(pattern)

    assert repr(pattern) in str(refused.value)
