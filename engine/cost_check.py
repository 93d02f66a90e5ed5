"""Compares our price list with the costs that Claude Code reports, and logs differences.

With each result, Claude Code reports the usage of its process since it was started (:mod:`engine.model_usage`). The
difference to the result before is the usage in between. Understudy uses its own price list, and this is a check of it.
The check also finds requests that Claude Code made besides the answers. They cost money too, so they are counted.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from engine.model_usage import Used, read, unheard
from translate.prices import cost_of, price_name
from translate.usage import MessageUsage

log = logging.getLogger(__name__)

# Both sides add floating-point numbers.
ROUNDING_USD = 2e-6


class CostCheck:
    """Logs a difference at most once for a model, and an unknown price at most once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def compare(self, messages: Sequence[MessageUsage], used: Mapping[str, Used]) -> None:
        """Compare the costs of some answers by our list with Claude Code's costs for the same answers."""
        for model, theirs in used.items():
            same = [message for message in messages if price_name(message.model) == model]
            if same and model not in self._told:
                self._compare(model, same, theirs)

    def _compare(self, model: str, messages: Sequence[MessageUsage], theirs: Used) -> None:
        ours_usd = cost_of(messages)
        if ours_usd is None:
            self._told.add(model)
            log.warning(
                "the price of %s is not known: its tokens are counted, and its costs are not."
                " Claude Code says %.6f USD for the last answers%s.",
                model,
                theirs.usd,
                ""
                if theirs.is_priced
                else ", by the price of another model, because it does not know the price of this one either",
            )
        elif theirs.is_priced and _differ(ours_usd, theirs.usd):
            self._told.add(model)
            figures = theirs.usd, f"{len(messages)} answer{'' if len(messages) == 1 else 's'}", model, ours_usd
            if not _differ(cost_of(messages, long_prompts=False) or 0.0, theirs.usd):
                log.info(
                    "Claude Code says %.6f USD for %s of %s, our price list says %.6f USD: Claude Code does not have"
                    " the published price for long prompts of this model. Our price list is used."
                    " This is logged once for a model.",
                    *figures,
                )
            else:
                log.warning(
                    "Claude Code says %.6f USD for %s of %s, our price list says %.6f USD for the same tokens."
                    " Our price list is used. This is logged once for a model.",
                    *figures,
                )

    def tell_unheard(self, model: str, usage: Mapping[str, Any]) -> None:
        """Log, once for a model, that Claude Code made a request to the API besides the answer."""
        if f"unheard {model}" not in self._told:
            self._told.add(f"unheard {model}")
            log.warning(
                "Claude Code made a request to %s besides the answer: %d input tokens (%d of them from the cache,"
                " %d written to it), %d output tokens. They are counted for the turn. This is logged once for a model.",
                model,
                usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
                usage["cache_read_input_tokens"],
                usage["cache_creation_input_tokens"],
                usage["output_tokens"],
            )


def _differ(ours_usd: float, theirs_usd: float) -> bool:
    return abs(ours_usd - theirs_usd) > ROUNDING_USD


class ProcessCosts:
    """The costs that one Claude Code process reports, result by result.

    ``asks_more`` says that its tools make requests to the API too. Such requests are then expected and not logged.
    """

    def __init__(self, check: CostCheck, *, asks_more: bool = False) -> None:
        self._check = check
        self._asks_more = asks_more
        self._before: dict[str, Used] = {}

    def result(
        self, model_usage: Mapping[str, Any] | None, messages: Sequence[MessageUsage], *, whole: bool
    ) -> list[MessageUsage]:
        """Take the ``modelUsage`` of a result, and return the usage since the result before that is not in
        ``messages``.

        ``messages`` are Claude's messages since the result before. ``whole`` says that all of them came to their end. A
        message that broke off is not compared, because it is not known how much of it Claude Code has counted.
        """
        if model_usage is None:
            return []
        now = read(model_usage)
        used = {model: told.since(self._before.get(model)) for model, told in now.items()}
        self._before = now
        if not whole and not self._asks_more:
            # The rest is Claude Code's estimate of the answer that broke off.
            return []
        more = unheard(used, messages)
        if whole:
            # Only the sum of further requests is known, and not which of them had a long prompt.
            only_heard = used.keys() - {message.model for message in more}
            self._check.compare(messages, {model: used[model] for model in sorted(only_heard)})
            if not self._asks_more:
                for message in more:
                    self._check.tell_unheard(message.model, message.usage)
        return more
