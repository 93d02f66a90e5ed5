"""Ids that both databases can hold, and bytes that they count alike."""

import pytest
from sqlalchemy import literal, select

from storage.base import can_be_id, check_ids, octets, size_of
from storage.database import Database


@pytest.mark.parametrize(
    ("id", "can"),
    [
        ("resp_1", True),
        ("my session, Ω", True),
        ("x" * 512, True),
        ("", False),
        ("x" * 513, False),
        ("é" * 300, False),
        ("a\0b", False),
        ("a\nb", False),
        ("\ud800", False),
    ],
)
def test_an_id_is_what_both_databases_can_hold(id: str, can: bool) -> None:
    assert can_be_id(id) == can


def test_ids_are_checked_together() -> None:
    check_ids("a", "b")
    with pytest.raises(ValueError, match="512 bytes"):
        check_ids("a", "")


@pytest.mark.parametrize("texts", [("", None), ("plain", "é€😀"), (r"\u0000 \x 'quoted'", None, "")])
def test_the_database_counts_bytes_as_we_do(database: Database, texts: tuple[str | None, ...]) -> None:
    counted = database.read(lambda c: c.execute(select(octets(c, *(literal(text) for text in texts)))).scalar())

    assert counted == size_of(*texts)
