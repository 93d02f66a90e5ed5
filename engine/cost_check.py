"""Compares our price list with Claude Code's own figures, and says where they differ.

Claude Code tells with each result what its process has cost since its start (``total_cost_usd``). What it has grown by
since the result before is what the answers in between cost. Understudy goes by its own list; this is a second opinion.
"""

import logging
from collections.abc import Sequence

from translate.prices import cost_of
from translate.usage import MessageUsage

log = logging.getLogger(__name__)

# Both sides add up floating-point numbers, of which some are rounded to a millionth.
ROUNDING_USD = 2e-6


class CostCheck:
    """Says of each model at most once that a figure differs, and at most once that its price is not known."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def compare(self, messages: Sequence[MessageUsage], theirs_usd: float) -> None:
        """Compare what some answers cost by our list with Claude Code's figure for the same answers."""
        models = sorted({message.model for message in messages if message.model} - self._told)
        if not models:
            return
        ours_usd = cost_of(messages)
        if ours_usd is None:
            unknown = [model for model in models if cost_of([m for m in messages if m.model == model]) is None]
            self._told.update(unknown)
            for model in unknown:
                log.warning(
                    "the price of %s is not known: its tokens are counted, its dollars are not."
                    " Claude Code says %.6f USD for what was asked last.",
                    model,
                    theirs_usd,
                )
        elif abs(ours_usd - theirs_usd) > ROUNDING_USD:
            self._told.update(models)
            log.info(
                "Claude Code says that %s cost %.6f USD, our price list says %.6f USD; the price list counts."
                " This is said once for a model.",
                f"{len(messages)} answer{'' if len(messages) == 1 else 's'} of {', '.join(models)}",
                theirs_usd,
                ours_usd,
            )


class ProcessCosts:
    """What one Claude Code process has told of its costs, result by result."""

    def __init__(self, check: CostCheck) -> None:
        self._check = check
        self._total_usd = 0.0

    def result(self, total_cost_usd: float | None, messages: Sequence[MessageUsage], *, whole: bool) -> None:
        """Take a result. ``messages`` are those since the result before; ``whole``: all of them have told their end.

        What broke off is not compared: nobody knows whether Claude Code has counted it.
        """
        if total_cost_usd is None:
            return
        since_usd, self._total_usd = total_cost_usd - self._total_usd, total_cost_usd
        if whole:
            self._check.compare(messages, since_usd)
