"""The text inside a custom tool's JSON comes out as it grows, wherever the pieces end."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.responses.free_text import FreeText


def fed(*pieces: str) -> tuple[list[str], str]:
    reader = FreeText()
    given = [reader.feed(piece) for piece in pieces]
    return [*given, reader.finish()], reader.text


@given(st.text(), st.booleans(), st.data())
def test_any_text_comes_out_as_it_is_however_it_is_cut(text: str, ascii: bool, data: st.DataObject) -> None:
    encoded = json.dumps({"input": text}, ensure_ascii=ascii)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(encoded)), max_size=6)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]

    given, whole = fed(*pieces)

    assert whole == "".join(given) == text


def test_text_comes_out_before_the_json_ends() -> None:
    given, _ = fed('{"input": "one t', "wo\\", "nthree", '"}')

    assert given == ["one t", "wo", "\nthree", "", ""]


def test_the_halves_of_a_pair_come_out_together() -> None:
    given, _ = fed('{"input":"\\ud83d', "\\ude00", '!"}')

    assert given == ["", "\U0001f600", "!", ""]


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00"], ids=["the first", "the second"])
def test_half_a_pair_alone_is_replaced(half: str) -> None:
    _, whole = fed(f'{{"input":"a{half} b"}}')

    assert whole == "a\N{REPLACEMENT CHARACTER} b"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (['{"input": "half of'], "half of"),
        (['{"input": "half \\u00'], "half "),
        (['{"why": "x", ', '"input": "late"}'], "late"),
        (['{"command": "ls"}'], '{"command": "ls"}'),
        (['{"inp'], '{"inp'),
        (["[1]"], "[1]"),
        ([], ""),
    ],
)
def test_an_input_of_another_form_is_passed_on_as_text(pieces: list[str], text: str) -> None:
    given, whole = fed(*pieces)

    assert whole == "".join(given) == text
