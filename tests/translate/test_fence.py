"""A code fence around the whole text is taken off, however the text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.fence import FenceStripper

JSON = '{"a": "`x`", "b": [1, 2]}'


def strip(pieces: list[str]) -> str:
    stripper = FenceStripper()
    return "".join([stripper.feed(piece) for piece in pieces]) + stripper.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (JSON, JSON),
        (f"```json\n{JSON}\n```", JSON),
        (f"\n```\n{JSON}```\n", JSON),
        ("", ""),
        ("``", "``"),
        ("```", "```"),
        ("a ```b``` c", "a ```b``` c"),
        (f"```json\n{JSON}", JSON),
    ],
)
@given(data=st.data())
def test_every_cut_gives_the_same_text(text: str, expected: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert strip(pieces) == expected


def test_text_without_a_fence_is_passed_on_at_once() -> None:
    stripper = FenceStripper()

    assert [stripper.feed(piece) for piece in ('{"a"', ": 1", "}")] == ['{"a"', ": 1", "}"]
