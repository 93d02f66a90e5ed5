"""A list in pieces is the list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.pagination import Order, Page, UnknownCursorError, first_of, page_of


@given(many=st.integers(0, 30), limit=st.integers(1, 10), order=st.sampled_from(["asc", "desc"]))
def test_the_pieces_make_up_the_list(many: int, limit: int, order: Order) -> None:
    entries = [str(n) for n in range(many)]
    found: list[str] = []
    page = Page[str]((), has_more=True)
    while page.has_more:
        page = page_of(entries, str, after=found[-1] if found else None, limit=limit, order=order)
        assert len(page.data) <= limit
        found += page.data

    assert found == (entries if order == "asc" else entries[::-1])


@pytest.mark.parametrize("cursor", ["after", "before"])
def test_a_cursor_that_is_not_in_the_list_is_told(cursor: str) -> None:
    with pytest.raises(UnknownCursorError) as raised:
        page_of(["a"], str, **{cursor: "b"})  # type: ignore[arg-type]

    assert raised.value.cursor == "b"


def test_between_two_cursors_in_the_wrong_order_is_nothing() -> None:
    assert page_of("abc", str, after="c", before="a", order="asc") == Page((), has_more=False)


def test_a_piece_that_was_read_one_further_says_that_there_is_more() -> None:
    assert first_of([1, 2, 3], 2) == Page((1, 2), has_more=True)
    assert first_of([1, 2], 2) == Page((1, 2), has_more=False)
