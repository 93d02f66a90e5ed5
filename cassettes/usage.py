"""The usage of a recorded exchange: tokens, web searches and dollars.

Claude's own counts are preferred. They cover every message that Claude began, even if the app did not receive it. If
the cassette has none, the ``usage`` of the response is read instead, for example for recorded responses from OpenAI.

Dollars are computed by :mod:`translate.prices`. They are None, never 0, if the price of the model is not known.
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
"""The response header with the Claude model that was used."""

# Only requests for a new response use tokens. Others, such as GET /v1/responses/{id}, repeat an earlier usage.
_ASKS = re.compile(r"/(completions|responses|responses/compact)/?$")


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of one exchange, in tokens.

    ``input`` is the whole prompt. It includes the tokens read from the cache (``cached``) and written to it
    (``cache_written``). ``output`` includes thinking. ``web_searches`` is a count. ``cost_usd``: None if the price of a
    model is not known. ``model``: the model that answered (the first, if there were several), or None if unknown.
    ``is_estimated``: the cassette does not have Claude's own counts, so these are the counts sent to the app.
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
    """The usage of several exchanges. ``unpriced``: how many have no known price. ``cost_usd`` excludes them."""

    input: int = 0
    cached: int = 0
    cache_written: int = 0
    output: int = 0
    web_searches: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    @property
    def known_usd(self) -> float | None:
        """The known part of the cost, or None if no cost is known."""
        return None if self.unpriced and not self.cost_usd else self.cost_usd

    def plus(self, used: Usage | None) -> "Total":
        """Return the total with one more exchange. None means that its usage is unknown."""
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
    """Return the usage of an exchange. Return None if unknown, for example if it failed before Claude answered."""
    turn_model = entry.turn.get("model") if entry.turn is not None else None
    header = entry.headers.get(MODEL_HEADER)
    return _usage(
        claude_usage(entry.events, entry.usage) if entry.claude_usage is None else entry.claude_usage,
        # In an older cassette, the figure may cover several exchanges.
        cost_usd=None if entry.claude_usage is None else entry.cost_usd,
        told=entry.usage,
        request=(entry.request.method, entry.request.path),
        model=header if isinstance(header, str) else turn_model if isinstance(turn_model, str) else None,
    )


def summary_usage(summary: Summary) -> Usage | None:
    """Return the usage of an exchange from its index entry. The result is the same as of :func:`entry_usage`."""
    return _usage(
        summary.claude_usage or (),
        cost_usd=summary.cost_usd,
        told=summary.usage,
        request=(summary.method, summary.path),
        model=summary.claude_model,
    )


def of_messages(claude: Sequence[MessageUsage], cost_usd: float | None = None) -> Usage:
    """Return the usage of Claude's messages. ``cost_usd``: the cost, if it was already computed."""
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
    """Return Claude's counts from the events of an exchange: one item for each message of each turn.

    Return an empty tuple if the events are incomplete but the app was sent a usage (``told``). In that case the last
    events were not recorded.
    """
    turns: dict[int, UsageReader] = {}
    for event in events:
        turns.setdefault(event.of, UsageReader()).feed(event.value)
    return in_order(turns, told)


def in_order(turns: Mapping[int, UsageReader], told: Mapping[str, Any] | None) -> tuple[MessageUsage, ...]:
    """Return the counts of the turns of an exchange, in order. See :func:`claude_usage`."""
    if told is not None and not all(reader.is_whole for reader in turns.values()):
        return ()
    return tuple(message for of in sorted(turns) for message in turns[of].messages)


def total(usages: Iterable[Usage | None]) -> Total:
    """Add up the usage of exchanges. None means that a usage is unknown."""
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
    """Read the ``usage`` of a response of the Chat Completions or the Responses API."""
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
