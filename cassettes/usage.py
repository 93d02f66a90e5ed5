"""What a recorded exchange used: tokens, web searches and dollars.

Claude's own counts come first, those of every message that it began, whether or not the app was told of them. Where the
cassette has none, as for answers of OpenAI's that were recorded or converted, the answer's ``usage`` is read instead.

Dollars are computed by :mod:`translate.prices`. They are None where the price of the model is not known, never 0.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cassettes.format import Entry, Event
from cassettes.summary import Summary
from translate.prices import cost, cost_of, count, web_searches
from translate.usage import COUNTED, MessageUsage, UsageReader

MODEL_HEADER = "x-understudy-model"
"""Where an answer says which Claude model it was translated for."""

# Only what asks for an answer uses anything. Whatever else tells a usage, as GET /v1/responses/{id}, repeats it.
_ASKS = re.compile(r"/(completions|responses|responses/compact)/?$")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used, in tokens.

    ``input`` is the whole prompt: what was read from the cache (``cached``) and written to it (``cache_written``) is
    part of it. ``output`` includes thinking. ``web_searches`` is a count. ``cost_usd``: None if the price of a model is
    not known. ``model``: the one that answered, of several the first; None if nobody told. ``is_estimated``: Claude's
    own counts are not in the cassette, so these are the ones that the app was told.
    """

    input: int = 0
    cached: int = 0
    cache_written: int = 0
    output: int = 0
    web_searches: int = 0
    cost_usd: float | None = 0.0
    model: str | None = None
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """What several exchanges used. ``cost_usd`` leaves out the ``unpriced``: so many have tokens and no price."""

    input: int = 0
    cached: int = 0
    cache_written: int = 0
    output: int = 0
    web_searches: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    @property
    def known_usd(self) -> float | None:
        """What is known of the cost; None if that is nothing."""
        return None if self.unpriced and not self.cost_usd else self.cost_usd

    def plus(self, used: Usage | None) -> "Total":
        """Return the total with one more exchange; None is one of which nothing is known."""
        if used is None:
            return self
        return Total(
            self.input + used.input,
            self.cached + used.cached,
            self.cache_written + used.cache_written,
            self.output + used.output,
            self.web_searches + used.web_searches,
            self.cost_usd + (used.cost_usd or 0.0),
            self.unpriced + (used.cost_usd is None),
        )


def entry_usage(entry: Entry) -> Usage | None:
    """Return what an exchange used; None if nobody told, as of what failed before Claude answered."""
    turn_model = entry.turn.get("model") if entry.turn is not None else None
    header = entry.headers.get(MODEL_HEADER)
    return _usage(
        claude_usage(entry.events, entry.usage) if entry.claude_usage is None else entry.claude_usage,
        # An older cassette's figure was not this exchange's alone.
        cost_usd=None if entry.claude_usage is None else entry.cost_usd,
        told=entry.usage,
        request=(entry.request.method, entry.request.path),
        model=header if isinstance(header, str) else turn_model if isinstance(turn_model, str) else None,
    )


def summary_usage(summary: Summary) -> Usage | None:
    """Return what an exchange used by the cassette's index, which knows the same as :func:`entry_usage`."""
    return _usage(
        summary.claude_usage or (),
        cost_usd=summary.cost_usd,
        told=summary.usage,
        request=(summary.method, summary.path),
        model=summary.claude_model,
    )


def of_messages(claude: Sequence[MessageUsage], cost_usd: float | None = None) -> Usage:
    """Return what Claude's messages used, nothing where there is none. ``cost_usd``: as computed before, if it was."""
    fresh, out, written, read = (sum(count(message.usage, name) for message in claude) for name in COUNTED)
    return Usage(
        input=fresh + written + read,
        cached=read,
        cache_written=written,
        output=out,
        web_searches=sum(web_searches(message.usage) for message in claude),
        cost_usd=cost_of(claude) if cost_usd is None else cost_usd,
        model=next((message.model for message in claude if message.model), None),
    )


def claude_usage(events: Iterable[Event], told: Mapping[str, Any] | None = None) -> tuple[MessageUsage, ...]:
    """Return Claude's counts from the events of an exchange: one for each message of each of its turns.

    None at all where they break off and the app was ``told`` a usage: then the last events were not kept.
    """
    turns: dict[int, UsageReader] = {}
    for event in events:
        turns.setdefault(event.of, UsageReader()).feed(event.value)
    return in_order(turns, told)


def in_order(turns: Mapping[int, UsageReader], told: Mapping[str, Any] | None) -> tuple[MessageUsage, ...]:
    """Return what was read of the turns of an exchange, as :func:`claude_usage` does."""
    if told is not None and not all(reader.is_whole for reader in turns.values()):
        return ()
    return tuple(message for of in sorted(turns) for message in turns[of].messages)


def total(usages: Iterable[Usage | None]) -> Total:
    """Add up what exchanges used; None is one of which nothing is known."""
    return functools.reduce(Total.plus, usages, Total())


def _usage(
    claude: Sequence[MessageUsage],
    *,
    cost_usd: float | None,
    told: Mapping[str, Any] | None,
    request: tuple[str, str],
    model: str | None,
) -> Usage | None:
    if claude:
        return of_messages(claude, cost_usd)
    method, path = request
    if told is None or method.upper() != "POST" or not _ASKS.search(path.partition("?")[0]):
        return None
    return _as_told(told, model)


def _as_told(told: Mapping[str, Any], model: str | None) -> Usage:
    """Read a usage in OpenAI's words, of either dialect."""
    details = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    prompt = count(told, "prompt_tokens") or count(told, "input_tokens")
    read, written = count(details, "cached_tokens"), count(details, "cache_write_tokens")
    out = count(told, "completion_tokens") or count(told, "output_tokens")
    claudes = dict(zip(COUNTED, (max(prompt - read - written, 0), out, written, read), strict=True))
    return Usage(
        input=prompt,
        cached=read,
        cache_written=written,
        output=out,
        cost_usd=cost(model or "", claudes),
        model=model,
        is_estimated=True,
    )
