"""What is said about a list of numbers."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """The middle of some measurements and how far they spread, in their own unit."""

    median: float
    p10: float
    p90: float
    p95: float
    count: int


def summarise(values: Sequence[float]) -> Summary:
    """Summarise measurements. Raises ValueError when there is none."""
    if not values:
        raise ValueError("there is nothing to summarise")
    if len(values) == 1:
        return Summary(values[0], values[0], values[0], values[0], 1)
    twentieths = statistics.quantiles(values, n=20, method="inclusive")
    return Summary(statistics.median(values), twentieths[1], twentieths[17], twentieths[18], len(values))


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Return the ratios round by round: what the machine does to both in a round cancels out."""
    return [a / b for a, b in zip(these, those, strict=True)]


def differences(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Return the differences round by round."""
    return [a - b for a, b in zip(these, those, strict=True)]


def carried(written_at: Sequence[float], delta_chars: int, pieces: Sequence[tuple[float, int]]) -> list[float]:
    """Return how long each delta was on its way, in the times' own unit.

    ``written_at`` is when the API wrote each delta, ``delta_chars`` its characters; ``pieces`` is what the client
    received: when, and how many characters. A delta has arrived with the piece that holds its last character, so
    pieces may be merged or split. Raises ValueError unless the pieces are all of the text and no more.
    """
    received = sum(chars for _, chars in pieces)
    if received != delta_chars * len(written_at):
        raise ValueError(f"{delta_chars * len(written_at)} characters were written and {received} received")
    delays: list[float] = []
    so_far = 0
    for at, chars in pieces:
        so_far += chars
        while len(delays) < so_far // delta_chars:
            delays.append(at - written_at[len(delays)])
    return delays
