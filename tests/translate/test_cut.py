"""A text ends where a stop sequence begins, however it comes in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from translate.cut import Cutter


@given(
    st.lists(st.text(alphabet="ab \n", max_size=4), max_size=8),
    st.sampled_from([("\n",), ("\n\n",), ("\n", " \n"), ("\n\n", " ")]),
)
def test_a_text_ends_where_a_stop_sequence_begins(pieces: list[str], sequences: tuple[str, ...]) -> None:
    cutter = Cutter(sequences)
    told = "".join([*map(cutter.feed, pieces), cutter.finish()])

    text = "".join(pieces)
    places = [place for sequence in sequences if (place := text.find(sequence)) >= 0]
    assert told == text[: min(places, default=None)]
    assert cutter.ended == bool(places)


def test_only_what_may_begin_a_stop_sequence_is_held_back() -> None:
    cutter = Cutter(["\n\n"])

    assert [cutter.feed("a\n"), cutter.feed("b\n"), cutter.finish(), cutter.finish()] == ["a", "\nb", "\n", ""]
