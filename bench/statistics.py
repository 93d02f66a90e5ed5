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
    count: int


def summarise(values: Sequence[float]) -> Summary:
    """Summarise measurements. Raises ValueError when there is none."""
    if not values:
        raise ValueError("there is nothing to summarise")
    if len(values) == 1:
        return Summary(values[0], values[0], values[0], 1)
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return Summary(statistics.median(values), tenths[0], tenths[-1], len(values))


def median_ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Return the median of the ratios round by round: what the machine does to both in a round cancels out."""
    return statistics.median([a / b for a, b in zip(these, those, strict=True)])
