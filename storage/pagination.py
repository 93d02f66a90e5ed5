"""Pages of lists, as in OpenAI's API: up to ``limit`` entries after a cursor, in either order.

A cursor is the id of an entry. Source: ``after``, ``limit``, ``order`` and ``has_more`` of OpenAI's list endpoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

type Order = Literal["asc", "desc"]


class UnknownCursorError(Exception):
    """The list has no entry with the id ``cursor``."""

    def __init__(self, cursor: str) -> None:
        super().__init__(f"no entry with id {cursor!r} in this list")
        self.cursor = cursor


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some entries of a list. ``has_more``: others follow."""

    data: tuple[T, ...]
    has_more: bool


def first_of[T](entries: Sequence[T], limit: int) -> Page[T]:
    """Return the first ``limit`` entries as a page. The caller reads up to ``limit + 1``, for ``has_more``."""
    return Page(tuple(entries[:limit]), len(entries) > limit)


def page_of[T](
    entries: Sequence[T],
    id_of: Callable[[T], str],
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int = 20,
    order: Order = "desc",
) -> Page[T]:
    """Return up to ``limit`` entries between two cursors. ``entries`` are sorted from oldest to newest.

    Raises UnknownCursorError if ``after`` or ``before`` is not the id of an entry.
    """
    listed = list(entries if order == "asc" else reversed(entries))
    places = {id_of(entry): place for place, entry in enumerate(listed)}
    for cursor in (after, before):
        if cursor is not None and cursor not in places:
            raise UnknownCursorError(cursor)
    begin = 0 if after is None else places[after] + 1
    end = len(listed) if before is None else places[before]
    return first_of(listed[begin:end][: limit + 1], limit)
