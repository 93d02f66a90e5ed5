"""The limits of an API key, and the decision whether a request may run. This module does no I/O and reads no clock.

:mod:`auth.keys.budgets` counts the usage and calls :func:`decide`.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, overload

MINUTE_S = 60.0
NANO = 1_000_000_000

# A higher limit is most likely a typing error. Also, the integers in the database columns have a maximum.
MAX_USD = 1e9
MAX_COUNT = 10**15

type Kind = Literal["rate", "quota"]
type Limit = Literal["requests", "tokens", "concurrent", "usd_per_day", "usd_total"]
type Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a key. None means no limit. A day is a UTC day.

    Raises ValueError if a limit is not above zero, or is above ``MAX_USD`` or ``MAX_COUNT``.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    usd_per_day: float | None = None
    usd_total: float | None = None

    @property
    def has_usd(self) -> bool:
        """Whether a limit in dollars is set."""
        return self.usd_per_day is not None or self.usd_total is not None

    def __post_init__(self) -> None:
        for spec in fields(self):
            limit = getattr(self, spec.name)
            most = MAX_USD if spec.name.startswith("usd") else MAX_COUNT
            if limit is not None and not 0 < limit <= most:
                raise ValueError(f"{spec.name} must be above 0 and at most {most:g}, not {limit}")


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage that counts against a key's limits at the time ``now``.

    Times are in Unix seconds, None if there was no request. ``requests`` and ``tokens`` are those of the last minute.
    ``tokens`` includes ``tokens_running``, and ``spent_total`` includes ``spent_today``. ``reserved`` is the estimated
    cost of the running requests. ``spent_today``, ``spent_total`` and ``reserved`` are in nanodollars.
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
        """Return the usage with one more request, just admitted, that may use this many tokens."""
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
    """The limit that refuses a request. ``rate``: waiting helps. ``quota``: it does not, until the next day or ever."""

    kind: Kind
    limit: Limit


def decide_usd(budget: Budget, usage: Usage, nano: int = 0, own: int = 0) -> Refusal | None:
    """Return the limit in dollars that refuses a request now, None if none does.

    The request may cost ``nano`` nanodollars. ``own`` is its part of ``usage.reserved``. If it may cost more than all
    the dollars that are left, it may still run, but only while no other request runs.
    """
    caps: tuple[tuple[Limit, int | None, int], ...] = (
        ("usd_total", nanodollars(budget.usd_total), usage.spent_total),
        ("usd_per_day", nanodollars(budget.usd_per_day), usage.spent_today),
    )
    for name, most, spent in caps:
        if most is not None and spent >= most:
            return Refusal("quota", name)
    for name, most, spent in caps:
        # Only the reservations of running requests refuse this one. Those requests may cost less, so waiting helps.
        if most is not None and spent + usage.reserved - own + min(own + nano, most - spent) > most:
            return Refusal("rate", name)
    return None


def decide(budget: Budget, usage: Usage, tokens: int = 0, nano: int = 0) -> Refusal | None:
    """Return the limit that refuses a request now, None if none does. Limits in dollars are checked first.

    The request may use ``tokens`` tokens and may cost ``nano`` nanodollars.
    """
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
    """Return OpenAI's rate limit headers, for those limits that the key has.

    «remaining» is the part of the limit that is left. «reset» is the time until the whole limit is available again, if
    no more requests come. Source: https://platform.openai.com/docs/guides/rate-limits, «Rate limits in headers».
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
    """Return a duration in OpenAI's format: ``20ms``, ``1s``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    # Floats of Unix seconds have a resolution of a quarter of a microsecond. Without rounding, a minute could become
    # 60.001 s.
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
    """Return the headers that control the retries of OpenAI's SDKs.

    ``retry-after-ms`` takes precedence over ``retry-after``, and ``x-should-retry`` over both.
    """
    if refusal.kind == "quota":
        return (("x-should-retry", "false"),)
    ms = math.ceil(round((wait_s or 0.0) * 1000, 2))
    return (("retry-after", str(math.ceil(ms / 1000))), ("retry-after-ms", str(ms)))


def message(refusal: Refusal, retry_after_s: float | None, budget: Budget) -> str:
    """Return the error message for the client."""
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
    """Convert dollars to nanodollars. The database stores these, because sums of integers are exact."""
    return None if usd is None else round(usd * NANO)


def dollars(nano: int | None) -> float | None:
    """Convert nanodollars to dollars."""
    return None if nano is None else nano / NANO
