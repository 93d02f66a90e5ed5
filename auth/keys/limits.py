"""What a key may use, and whether a request still may: no I/O, no clock.

:mod:`auth.keys.budgets` counts what was used and asks :func:`decide`.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, overload

MINUTE_S = 60.0
NANO = 1_000_000_000

# Above this a limit is a slip of the hand, and the columns that hold it have an end.
MAX_USD = 1e9
MAX_COUNT = 10**15

type Kind = Literal["rate", "quota"]
type Limit = Literal["requests", "tokens", "concurrent", "usd_per_day", "usd_total"]
type Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key may use; None is no limit. A day is one of UTC. Raises ValueError if a limit is not above zero."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    usd_per_day: float | None = None
    usd_total: float | None = None

    @property
    def has_usd(self) -> bool:
        """Whether there is a limit in dollars."""
        return self.usd_per_day is not None or self.usd_total is not None

    def __post_init__(self) -> None:
        for spec in fields(self):
            limit = getattr(self, spec.name)
            most = MAX_USD if spec.name.startswith("usd") else MAX_COUNT
            if limit is not None and not 0 < limit <= most:
                raise ValueError(f"{spec.name} must be above 0 and at most {most:g}, not {limit}")


@dataclass(frozen=True, slots=True)
class Usage:
    """What counts against a key's limits at a moment. Times are Unix seconds, None where there was nothing.

    ``tokens`` includes ``tokens_running``, and ``spent_total`` includes ``spent_today``; ``reserved`` is what running
    requests may come to. The last three are nanodollars.
    """

    now: float
    requests: int = 0
    last_request_at: float | None = None
    tokens: int = 0
    tokens_running: int = 0
    last_tokens_at: float | None = None
    running: int = 0
    spent_today: int = 0
    spent_total: int = 0
    reserved: int = 0

    def and_another(self, tokens: int) -> "Usage":
        """Count a request that was just admitted, and may come to so many tokens."""
        return replace(
            self,
            requests=self.requests + 1,
            last_request_at=self.now,
            tokens=self.tokens + tokens,
            tokens_running=self.tokens_running + tokens,
            running=self.running + 1,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit stands in the way. ``rate`` passes by itself, ``quota`` does not, or only with the day."""

    kind: Kind
    limit: Limit


def decide_usd(budget: Budget, usage: Usage, nano: int = 0, own: int = 0) -> Refusal | None:
    """Say which limit in dollars keeps a request from running now, None if none does.

    ``nano`` are the nanodollars that it may cost, ``own`` what of ``usage.reserved`` is its own. A request that may
    cost more than all that is left may run as long as nothing else does.
    """
    caps: tuple[tuple[Limit, int | None, int], ...] = (
        ("usd_total", nanodollars(budget.usd_total), usage.spent_total),
        ("usd_per_day", nanodollars(budget.usd_per_day), usage.spent_today),
    )
    for name, most, spent in caps:
        if most is not None and spent >= most:
            return Refusal("quota", name)
    for name, most, spent in caps:
        # Only what running requests have reserved stands in the way, and they may come to less.
        if most is not None and spent + usage.reserved - own + min(own + nano, most - spent) > most:
            return Refusal("rate", name)
    return None


def decide(budget: Budget, usage: Usage, tokens: int = 0, nano: int = 0) -> Refusal | None:
    """Say which limit keeps a request from running now, None if none does. What waiting does not help comes first."""
    if (refusal := decide_usd(budget, usage, nano)) is not None:
        return refusal
    if budget.requests_per_minute is not None and usage.requests >= budget.requests_per_minute:
        return Refusal("rate", "requests")
    if (per_minute := budget.tokens_per_minute) is not None and (
        usage.tokens >= per_minute or usage.tokens + min(tokens, per_minute) > per_minute
    ):
        return Refusal("rate", "tokens")
    if budget.concurrent is not None and usage.running >= budget.concurrent:
        return Refusal("rate", "concurrent")
    return None


def headers_for(budget: Budget, usage: Usage) -> Headers:
    """Return OpenAI's rate limit headers, for the limits that the key has.

    «Remaining» is what is left, «reset» the time until all of it is there again, should nothing more be asked.
    Source: https://platform.openai.com/docs/guides/rate-limits, «Rate limits in headers».
    """
    found: list[tuple[str, str]] = []
    tokens_since = usage.now if usage.tokens_running else usage.last_tokens_at
    for name, limit, used, since in (
        ("requests", budget.requests_per_minute, usage.requests, usage.last_request_at),
        ("tokens", budget.tokens_per_minute, usage.tokens, tokens_since),
    ):
        if limit is not None:
            found += [
                (f"x-ratelimit-limit-{name}", str(limit)),
                (f"x-ratelimit-remaining-{name}", str(max(0, limit - used))),
                (f"x-ratelimit-reset-{name}", duration(since + MINUTE_S - usage.now if since is not None else 0.0)),
            ]
    return tuple(found)


def duration(seconds: float) -> str:
    """Write a time as OpenAI does: ``20ms``, ``1s``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    # Unix seconds have a resolution of a quarter of a microsecond, and a minute must not come out as 60.001 s.
    ms = max(0, math.ceil(round(seconds * 1000, 2)))
    if ms == 0:
        return "0s"
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{rest}" if hours else f"{minutes}m{rest}" if minutes else rest


def retry_headers(refusal: Refusal, wait_s: float | None) -> Headers:
    """Return what OpenAI's SDKs go by when they try again: the finer of the first two, and the third above all."""
    if refusal.kind == "quota":
        return (("x-should-retry", "false"),)
    ms = math.ceil(round((wait_s or 0.0) * 1000, 2))
    return (("retry-after", str(math.ceil(ms / 1000))), ("retry-after-ms", str(ms)))


def message(refusal: Refusal, retry_after_s: float | None, budget: Budget) -> str:
    """Say it to whoever holds the key."""
    words = {
        "requests": f"This key may make {budget.requests_per_minute} requests per minute.",
        "tokens": f"This key may use {budget.tokens_per_minute} tokens per minute.",
        "concurrent": f"This key may have {budget.concurrent} requests running at once.",
        "usd_per_day": f"This key may spend {budget.usd_per_day} USD a day (UTC)",
        "usd_total": f"This key may spend {budget.usd_total} USD in all",
    }[refusal.limit]
    if refusal.limit.startswith("usd"):
        words += (
            ", and too little of that is left."
            if refusal.kind == "quota"
            else ", and its running requests may use it up."
        )
    return words if retry_after_s is None else f"{words} Try again in {duration(retry_after_s)}."


@overload
def nanodollars(usd: float) -> int: ...
@overload
def nanodollars(usd: float | None) -> int | None: ...
def nanodollars(usd: float | None) -> int | None:
    """Return dollars as the database counts them, so that sums are exact."""
    return None if usd is None else round(usd * NANO)


def dollars(nano: int | None) -> float | None:
    """Return what the database counted, in dollars."""
    return None if nano is None else nano / NANO
