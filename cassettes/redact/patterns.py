"""Regular expressions that take linear time, for texts of any origin.

Python's own ``re`` backtracks when a match fails. A harmless-looking pattern can take quadratic time or worse, and it
holds the interpreter's lock all the time. RE2 reads a text once and lets other threads run meanwhile. It has no
look-around, no backreferences and no possessive quantifiers. ``\\w``, ``\\d``, ``\\s`` and ``\\b`` are ASCII only. The
end of a text is ``\\z``. https://github.com/google/re2/wiki/Syntax

One search takes linear time, but repeated searches may not: ``a(?:.*b)?`` reads to the end of the text for each ``a``.
So a search begins with a window of :data:`WINDOW` bytes. The window is doubled while nothing is found, or while the
match reaches its end. A match that needs the larger window ends in its second half, so the search has moved on by at
least half of what it read. So all searches together read a bounded number of bytes for each byte of the text. The cost:
if a pattern matches at one place both within the first window and beyond it, the shorter match may be used.
"""

from collections.abc import Iterator
from typing import Any

import re2

WINDOW = 1024
"""The size of the first window of a search, in bytes."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # the error is raised, so it need not be printed too


class Pattern:
    """A regular expression. Raises ValueError, with the pattern, if RE2 does not support it."""

    __slots__ = ("_group", "_regex", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._regex = re2.compile(source, _OPTIONS)
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
            raise ValueError(f"{source!r} is not a pattern that RE2 can read: {reason}") from None
        except UnicodeEncodeError:
            raise ValueError(f"{source!r} is not a pattern: it has half of a character in it") from None
        self._group = min(self._regex.groups, 1)

    def spans(self, text: str, start: int = 0, *, whole: bool = False) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each match of group 1. Without a group, or with ``whole``, use the whole match.

        Empty matches are left out.
        """
        data = text.encode("utf-8", "replace")
        offset = start if text.isascii() else len(text[:start].encode("utf-8", "replace"))
        for begin, end in self._byte_spans(data, offset, 0 if whole else self._group):
            if text.isascii():
                yield begin, end
                continue
            # Count characters from one match to the next, so that each is counted only once.
            start += len(data[offset:begin].decode("utf-8", "replace"))
            length = len(data[begin:end].decode("utf-8", "replace"))
            yield start, start + length
            start, offset = start + length, end

    def replace(self, text: str, instead: str) -> str:
        """Replace each match with ``instead``."""
        done, at = list[str](), 0
        for begin, end in self.spans(text, whole=True):
            done += [text[at:begin], instead]
            at = end
        return "".join([*done, text[at:]]) if done else text

    def _byte_spans(self, data: bytes, at: int, group: int) -> Iterator[tuple[int, int]]:
        last = at  # spans must not overlap, although a group can lie before the end of the previous span
        while at < len(data):
            match = self._next(data, at)
            if match is None:
                return
            (begin, end), (first, final) = match.span(), match.span(group)
            if first >= last and final > first:
                yield first, final
                last = final
            at = end if end > begin else _whole(data, end + 1)

    def _next(self, data: bytes, at: int) -> Any:
        """Return the next match, from the smallest window that contains it and whose end it does not reach."""
        width, found = WINDOW, None
        while True:
            limit = _whole(data, at + width)
            match = self._regex.search(data, at, limit)
            if found is not None and (match is None or match.start() != found.start() or match.end() < found.end()):
                return found  # this match exists only because the smaller window ended there
            if limit >= len(data) or (match is not None and match.end() < limit):
                return match
            found, width = match, 2 * width


def _whole(data: bytes, at: int) -> int:
    """Return ``at``, or the next offset that does not split a UTF-8 character."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return min(at, len(data))
