"""Nothing that a stranger wrote steers a terminal."""

import pytest

from translate.printable import one_line, safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb", r"a\rb"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("żółw 日本 🐢", "żółw 日本 🐢"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_text_may_have_lines_and_a_line_may_not() -> None:
    assert safe("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb") == r"a\n\tb"
