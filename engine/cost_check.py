"""Compares our price list with Claude Code's own figures, and says where they differ.

Claude Code tells with each result what its process has used since its start (:mod:`engine.model_usage`). What that has
grown by since the result before is what was asked in between. Understudy goes by its own list; this is a second
opinion. It is also how requests are found that Claude Code made besides the answers: they cost money too, so they are
counted.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from engine.model_usage import Used, read, unheard
from translate.prices import cost_of, price_name
from translate.usage import MessageUsage

log = logging.getLogger(__name__)

# Both sides add up floating-point numbers.
ROUNDING_USD = 2e-6


class CostCheck:
    """Says of each model at most once that a figure differs, and at most once that its price is not known."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def compare(self, messages: Sequence[MessageUsage], used: Mapping[str, Used]) -> None:
        """Compare what some answers cost by our list with Claude Code's figures for the same answers."""
        for model, theirs in used.items():
            same = [message for message in messages if price_name(message.model) == model]
            if same and model not in self._told:
                self._compare(model, same, theirs)

    def _compare(self, model: str, messages: Sequence[MessageUsage], theirs: Used) -> None:
        ours_usd = cost_of(messages)
        if ours_usd is None:
            self._told.add(model)
            log.warning(
                "the price of %s is not known: its tokens are counted, its dollars are not."
                " Claude Code says %.6f USD for what was asked last%s.",
                model,
                theirs.usd,
                "" if theirs.is_priced else ", by the price of another model: it does not know this one's either",
            )
        elif theirs.is_priced and _differ(ours_usd, theirs.usd):
            self._told.add(model)
            figures = theirs.usd, f"{len(messages)} answer{'' if len(messages) == 1 else 's'}", model, ours_usd
            if not _differ(cost_of(messages, long_prompts=False) or 0.0, theirs.usd):
                log.info(
                    "Claude Code says %.6f USD for %s of %s, our price list says %.6f USD: Claude Code does not have"
                    " the published price of this model's long prompts. Our price list counts."
                    " This is said once for a model.",
                    *figures,
                )
            else:
                log.warning(
                    "Claude Code says %.6f USD for %s of %s, our price list says %.6f USD for the same tokens."
                    " Our price list counts. This is said once for a model.",
                    *figures,
                )

    def tell_unheard(self, model: str, usage: Mapping[str, Any]) -> None:
        """Say that Claude Code asked the API for something besides the answer, once for a model."""
        if f"unheard {model}" not in self._told:
            self._told.add(f"unheard {model}")
            log.warning(
                "Claude Code asked %s for something besides the answer: %d input tokens (%d of them from the cache,"
                " %d written to it), %d output tokens. They are counted as the turn's. This is said once for a model.",
                model,
                usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
                usage["cache_read_input_tokens"],
                usage["cache_creation_input_tokens"],
                usage["output_tokens"],
            )


def _differ(ours_usd: float, theirs_usd: float) -> bool:
    return abs(ours_usd - theirs_usd) > ROUNDING_USD


class ProcessCosts:
    """What one Claude Code process has told of its costs, result by result.

    ``asks_more``: whether its tools ask the API too, so that nobody is told of it when they do.
    """

    def __init__(self, check: CostCheck, *, asks_more: bool = False) -> None:
        self._check = check
        self._asks_more = asks_more
        self._before: dict[str, Used] = {}

    def result(
        self, model_usage: Mapping[str, Any] | None, messages: Sequence[MessageUsage], *, whole: bool
    ) -> list[MessageUsage]:
        """Take a result, and return what was used since the one before beyond ``messages``.

        ``messages`` are those since the result before; ``whole``: all of them have told their end. What broke off is
        not compared: nobody knows how much of it Claude Code has counted.
        """
        if model_usage is None:
            return []
        now = read(model_usage)
        used = {model: told.since(self._before.get(model)) for model, told in now.items()}
        self._before = now
        if not whole and not self._asks_more:
            # What is beyond the messages is Claude Code's own estimate of the answer that broke off.
            return []
        more = unheard(used, messages)
        if whole:
            # Of further requests only the sum is known, and not which of them had a long prompt.
            only_heard = used.keys() - {message.model for message in more}
            self._check.compare(messages, {model: used[model] for model in sorted(only_heard)})
            if not self._asks_more:
                for message in more:
                    self._check.tell_unheard(message.model, message.usage)
        return more
