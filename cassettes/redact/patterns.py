"""Regular expressions over an app's bytes, in time that grows with their length and not with its square.

Python's own ``re`` tries again from where it came when a match fails, so a pattern that looks harmless can take the
square of a text's length or worse, and it holds the interpreter's lock while it does. RE2 goes through a text once and
lets other threads run meanwhile. It has no look-around, no backreferences and no possessive quantifiers; ``\\w``,
``\\d``, ``\\s`` and ``\\b`` know ASCII only; the end of a text is ``\\z``. https://github.com/google/re2/wiki/Syntax

One search is linear, but many are not always: ``a(?:.*b)?`` looks to the end of the text for each ``a``. So a search
begins with a window of :data:`WINDOW` bytes. The window is doubled as long as nothing is found, or what is found
reaches its end. What a window of more than the first size costs is paid for by how far the search has come: a match
that was not in half of the window ends behind that half. So all searches together look at a bounded number of bytes
for each byte of the text. The price: of two matches that begin at the same place, one that ends within the first
window is taken for one that ends behind it.
"""

from collections.abc import Iterator
from typing import Any

import re2

WINDOW = 1024
"""How many bytes a search looks at first."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # the error is raised; nobody reads stderr


class Pattern:
    """A regular expression of a person's. Raises ValueError, naming the pattern, for what RE2 cannot do."""

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
        """Find where group 1 matches, or all of the pattern if it has no group, or if ``whole`` asks for that.

        Empty matches are left out.
        """
        data = text.encode("utf-8", "replace")
        offset = start if text.isascii() else len(text[:start].encode("utf-8", "replace"))
        for begin, end in self._byte_spans(data, offset, 0 if whole else self._group):
            if text.isascii():
                yield begin, end
                continue
            # Characters are counted from one match to the next, so that each is counted once.
            start += len(data[offset:begin].decode("utf-8", "replace"))
            length = len(data[begin:end].decode("utf-8", "replace"))
            yield start, start + length
            start, offset = start + length, end

    def replace(self, text: str, instead: str) -> str:
        """Put ``instead`` in the place of each match."""
        done, at = list[str](), 0
        for begin, end in self.spans(text, whole=True):
            done += [text[at:begin], instead]
            at = end
        return "".join([*done, text[at:]]) if done else text

    def _byte_spans(self, data: bytes, at: int, group: int) -> Iterator[tuple[int, int]]:
        last = at  # spans never overlap, though a group may lie before what its match began with
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
        """Return the next match, in the smallest window that has one and that it does not reach the end of."""
        width, found = WINDOW, None
        while True:
            limit = _whole(data, at + width)
            match = self._regex.search(data, at, limit)
            if found is not None and (match is None or match.start() != found.start() or match.end() < found.end()):
                return found  # it was a match only because its window ended there
            if limit >= len(data) or (match is not None and match.end() < limit):
                return match
            found, width = match, 2 * width


def _whole(data: bytes, at: int) -> int:
    """Return the place, or the next one that does not cut a character in two."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return min(at, len(data))
