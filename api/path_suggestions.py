"""Which path an unknown path was probably meant to be. Pure: paths go in, a path comes out."""

from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher

VERSION = "v1"

ALIKE = 0.8
"""How alike two paths must be, as ``difflib`` counts it, for one to be offered in place of the other."""

NOT_ANSWERED = frozenset(
    {
        *("assistants", "audio", "chatkit", "containers", "embeddings", "evals", "fine_tuning"),
        *("graders", "images", "moderations", "organization", "realtime", "threads", "vector_stores"),
        "videos",
    }
)
"""What OpenAI's API has besides: a request for one of these is not a misspelling of another path."""

LONGEST = 200
"""A longer path is not compared: the time that comparing takes grows with the square of the length."""


def closest_path(path: str, templates: Iterable[str], is_known: Callable[[str], bool]) -> str | None:
    """Return the known path that ``path`` was probably meant to be, None if none is near.

    ``templates`` are the known paths. They have ``*`` for a segment of any value, or ``**`` at their end for what
    follows. In the answer the value from ``path`` stands in that place. ``is_known`` decides about a whole path.

    A wrong prefix is looked for first (``/v1/v1/models``, ``/api/chat/completions``), then a misspelt segment
    (``/v1/chat/completion``).
    """
    if len(path) > LONGEST:
        return None
    for other in _with_other_prefix(path):
        if other != path and is_known(other):
            return other
    segments = path.rstrip("/").split("/")
    if NOT_ANSWERED & set(segments):
        return None
    best, how_alike = None, ALIKE
    for template in templates:
        parts = template.replace("**", "*").split("/")
        if len(parts) != len(segments):
            continue
        # An id is as long as it likes, and says nothing about the path.
        fixed = [(part, segment) for part, segment in zip(parts, segments, strict=True) if part != "*"]
        alike = _likeness("/".join(part for part, _ in fixed), "/".join(segment for _, segment in fixed))
        candidate = "/".join(segment if part == "*" else part for part, segment in zip(parts, segments, strict=True))
        if alike >= how_alike and candidate != path and is_known(candidate):
            best, how_alike = candidate, alike
    return best


def _with_other_prefix(path: str) -> Iterator[str]:
    """Yield ``/v1`` and an end of the path, the longest end first."""
    segments = [segment for segment in path.split("/") if segment]
    for start, segment in enumerate(segments):
        if segment != VERSION:
            yield "/".join(["", VERSION, *segments[start:]])


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
