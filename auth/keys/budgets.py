"""Limits of a client's key: requests and tokens a minute, concurrent requests, dollars a day and in total.

Theory of operation
-------------------
A request is admitted before it runs and settled when it has been answered. Each of the two is one transaction. In
between, the request is a row in the database that all proxies share, so a limit holds for all of them together. A lock
on the key's row (on SQLite: the one write lock) makes admissions of one key follow each other, so each sees all earlier
ones.

Minutes slide: no 60 seconds, wherever they begin, contain more admitted requests than the limit. Tokens count from the
moment the answer reports them, because an answer can take longer than a minute. Until then a request counts with the
caller's estimate, if there is one. Without an estimate a key can exceed its tokens by those of the requests that run at
once. With an upper bound it cannot.

A request reserves the dollars that each of its turns may cost before the turn runs. Settling releases them. Reserved
dollars count as spent. A request that may cost more than what is left is admitted only if no other request runs, so
that the last dollars can be used. A key can therefore exceed its dollars by what that request costs too much, and by
what an estimate was too low.

A proxy that dies settles nothing. Its requests stop counting as running when their leases run out
(:mod:`storage.lease_renewal`).
"""

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, case, delete, func, insert, select, update

from auth.keys.clients import Client
from auth.keys.limits import (
    MAX_COUNT,
    MAX_USD,
    MINUTE_S,
    NANO,
    Budget,
    Headers,
    Refusal,
    Usage,
    decide,
    decide_usd,
    headers_for,
    message,
    nanodollars,
    retry_headers,
)
from storage.base import Clock
from storage.database import Database, insert_into
from storage.detached_tasks import DetachedTasks
from storage.lease_renewal import LEASE_S, LeasedRows, LeasedStore
from storage.tables import admissions, clients, spending

DAY_S = 86_400

# Rows dated further than this in the future were written before the clock was set back. They do not count: otherwise
# they would lock the key out until the clock has caught up.
AHEAD_S = MINUTE_S

# Nobody knows when a running request will end. The client is told to retry after this time.
SOON_S = 1.0


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may run. ``headers`` are OpenAI's rate-limit headers for its answer."""

    id: str
    client_id: str
    headers: Headers


class OverBudgetError(Exception):
    """A request may not run now. The message is for the holder of the key.

    ``kind`` is ``rate`` (OpenAI's 429 with ``rate_limit_exceeded``) or ``quota`` (429 with ``insufficient_quota``).
    ``retry_after_s`` is None where waiting does not help. ``headers`` are for the answer, ``retry-after`` among them.
    """

    def __init__(self, refusal: Refusal, retry_after_s: float | None, headers: Headers, budget: Budget) -> None:
        super().__init__(message(refusal, retry_after_s, budget))
        self.kind = refusal.kind
        self.limit = refusal.limit
        self.retry_after_s = retry_after_s
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key has used.

    ``usd`` includes ``usd_estimated``: amounts that were computed with the price of another model, or were booked by an
    older version. It does not include the ``requests_unpriced``, whose price is not known.
    """

    requests: int = 0
    tokens: int = 0
    usd: float = 0.0
    usd_estimated: float = 0.0
    usd_today: float = 0.0
    requests_unpriced: int = 0


class Budgets(LeasedStore):
    """Admits requests and settles them. Use it in an ``async with``: leases are renewed until the block ends.

    ``clock`` returns Unix seconds. Without it, the database's clock is used, which all proxies share.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None, lease_s: float = LEASE_S) -> None:
        super().__init__(database, clock=clock)
        self._lease_s = lease_s
        self._tasks = DetachedTasks()
        self.running = LeasedRows(
            database,
            admissions,
            now=self._now,
            lease_s=lease_s,
            warning="other proxies may count requests as ended that still run here",
        )

    async def close(self) -> None:
        """Wait until every request has been settled whose settling has begun."""
        await self._tasks.wait()

    async def admit(self, client: Client, *, tokens: int = 0, usd: float = 0.0) -> Admission:
        """Admit a request. The caller must settle it, however it ends.

        ``tokens`` and ``usd`` are estimates of what the request will use. They count until it is settled. A request
        that may use more than a whole minute's tokens is admitted only if no other tokens count.
        Raises OverBudgetError and StoreError. If the caller is cancelled, the request is settled with 0 tokens.
        """
        if not self.running.is_open:
            raise RuntimeError("use Budgets in an `async with`: it renews the leases")
        _check(tokens, usd)
        work = functools.partial(self._admit, client=client, tokens=tokens, nano=nanodollars(usd))
        decided = await self._tasks.run_or_undo(self._database.awrite(work), self._give_back, "admit a request")
        if isinstance(decided, OverBudgetError):
            raise decided
        self.running.ids.add(decided.id)
        return decided

    async def reserve(self, admission: Admission, client: Client, usd: float, *, may_refuse: bool = True) -> None:
        """Reserve more dollars for an admitted request, until it is settled.

        Does nothing for a key without a budget in dollars. Raises StoreError and, if ``may_refuse``, OverBudgetError.
        """
        if not client.budget.has_usd:
            return
        _check(0, usd)
        work = functools.partial(
            self._reserve, admission=admission, client=client, nano=nanodollars(usd), may_refuse=may_refuse
        )
        refused = await self._tasks.run(self._database.awrite(work), "reserve dollars")
        if refused is not None:
            raise refused

    async def settle(self, admission: Admission, tokens: int, usd: float | None, usd_is_estimated: bool = True) -> None:
        """Record what a request has used, and stop counting it as running. A second call does nothing.

        ``usd`` is None if the price is not known. A request that failed before Claude answered used 0. The request is
        settled even if the caller is cancelled.
        Raises StoreError. Then the caller may try again; the request stops counting when its lease runs out.
        """
        _check(tokens, usd)
        self.running.ids.discard(admission.id)
        work = functools.partial(
            self._settle, admission=admission, tokens=tokens, nano=nanodollars(usd), is_estimated=usd_is_estimated
        )
        await self._tasks.run(self._database.awrite(work), "settle a request")

    async def _give_back(self, decided: Admission | OverBudgetError) -> None:
        if isinstance(decided, Admission):
            settle = functools.partial(self._settle, admission=decided, tokens=0, nano=0, is_estimated=False)
            await self._database.awrite(settle)

    def _admit(self, connection: Connection, client: Client, tokens: int, nano: int) -> Admission | OverBudgetError:
        # FOR NO KEY UPDATE blocks other admissions of this key. It does not block transactions that only insert a
        # reference to the row, as settling does.
        connection.execute(select(clients.c.id).where(clients.c.id == client.id).with_for_update(key_share=True))
        now = self._now(connection)
        _forget(connection, client.id, now)
        usage = _usage(connection, client.id, now, self._lease_s)
        refusal = decide(client.budget, usage, tokens, nano)
        if refusal is None:
            id = secrets.token_hex(16)
            connection.execute(
                insert(admissions).values(
                    id=id,
                    client_id=client.id,
                    admitted_at=now,
                    lease_until=now + self._lease_s,
                    tokens=tokens,
                    nanodollars=nano,
                )
            )
            return Admission(id, client.id, headers_for(client.budget, usage.and_another(tokens)))
        wait_s = _wait_s(connection, client, usage, refusal, tokens)
        headers = headers_for(client.budget, usage) + retry_headers(refusal, wait_s)
        return OverBudgetError(refusal, wait_s, headers, client.budget)

    def _reserve(
        self, connection: Connection, admission: Admission, client: Client, nano: int, may_refuse: bool
    ) -> OverBudgetError | None:
        connection.execute(select(clients.c.id).where(clients.c.id == client.id).with_for_update(key_share=True))
        now = self._now(connection)
        usage = _usage(connection, client.id, now, self._lease_s)
        this = (admissions.c.id == admission.id) & admissions.c.settled_at.is_(None)
        row = connection.execute(select(admissions.c.nanodollars, admissions.c.lease_until).where(this)).one_or_none()
        if row is None:
            return None  # settled meanwhile
        own = int(row.nanodollars) if row.lease_until > now else 0
        if may_refuse and (refusal := decide_usd(client.budget, usage, nano, own)) is not None:
            wait_s = _wait_s(connection, client, usage, refusal, 0)
            return OverBudgetError(refusal, wait_s, retry_headers(refusal, wait_s), client.budget)
        connection.execute(
            update(admissions)
            .where(this)
            .values(nanodollars=admissions.c.nanodollars + nano, lease_until=now + self._lease_s)
        )
        return None

    def _settle(
        self, connection: Connection, admission: Admission, tokens: int, nano: int | None, is_estimated: bool
    ) -> None:
        now = self._now(connection)
        unsettled = (admissions.c.id == admission.id) & admissions.c.settled_at.is_(None)
        settled = connection.execute(update(admissions).where(unsettled).values(settled_at=now, tokens=tokens))
        if not settled.rowcount:
            return
        row = {
            "requests": 1,
            "tokens": tokens,
            "nanodollars": nano or 0,
            "nanodollars_estimated": (nano or 0) if is_estimated else 0,
            "requests_unpriced": int(nano is None),
        }
        booking = insert_into(connection, spending).values(client_id=admission.client_id, day=day_of(now), **row)
        connection.execute(
            booking.on_conflict_do_update(
                index_elements=["client_id", "day"],
                set_={name: spending.c[name] + booking.excluded[name] for name in row},
            )
        )


def day_of(now: float) -> str:
    """Return the day in UTC: ``2026-11-20``."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def spent(database: Database, clock: Callable[[], float] | None = None) -> dict[str, Spent]:
    """Return what each key has used, by the key's id. Keys that were never used are missing. Blocks."""

    def work(connection: Connection) -> dict[str, Spent]:
        today = day_of(clock() if clock else database.now(connection))
        names = ("requests", "tokens", "nanodollars", "nanodollars_estimated", "requests_unpriced")
        query = select(
            spending.c.client_id,
            *(func.sum(spending.c[name]).label(name) for name in names),
            func.sum(case((spending.c.day == today, spending.c.nanodollars), else_=0)).label("today"),
        )
        return {
            row.client_id: Spent(
                requests=int(row.requests),
                tokens=int(row.tokens),
                usd=int(row.nanodollars) / NANO,
                usd_estimated=int(row.nanodollars_estimated) / NANO,
                usd_today=int(row.today) / NANO,
                requests_unpriced=int(row.requests_unpriced),
            )
            for row in connection.execute(query.group_by(spending.c.client_id))
        }

    return database.read(work)


def _check(tokens: int, usd: float | None) -> None:
    if not 0 <= tokens <= MAX_COUNT or (usd is not None and not 0 <= usd <= MAX_USD):
        raise ValueError(f"a request cannot use {tokens} tokens for {usd} USD")


def _forget(connection: Connection, client_id: str, now: float) -> None:
    """Delete rows that no longer count. Unsettled ones are kept for a day, because the request may only be slow."""
    connection.execute(
        delete(admissions).where(
            admissions.c.client_id == client_id,
            (admissions.c.settled_at <= now - MINUTE_S)
            | (admissions.c.settled_at > now + AHEAD_S)
            | (admissions.c.settled_at.is_(None) & (admissions.c.lease_until <= now - DAY_S)),
        )
    )


def _usage(connection: Connection, client_id: str, now: float, lease_s: float) -> Usage:
    row = admissions.c
    asked = (row.admitted_at > now - MINUTE_S) & (row.admitted_at <= now + AHEAD_S)
    running = row.settled_at.is_(None) & (row.lease_until > now) & (row.lease_until <= now + lease_s + AHEAD_S)
    answered = (row.settled_at > now - MINUTE_S) & (row.settled_at <= now + AHEAD_S)
    counted = connection.execute(
        select(
            func.sum(case((asked, 1), else_=0)),
            func.max(case((asked, row.admitted_at))),
            func.sum(case((running | answered, row.tokens), else_=0)),
            func.sum(case((running, row.tokens), else_=0)),
            func.max(case((answered & (row.tokens > 0), row.settled_at))),
            func.sum(case((running, 1), else_=0)),
            func.sum(case((running, row.nanodollars), else_=0)),
        ).where(row.client_id == client_id)
    ).one()
    requests, last_request_at, tokens, tokens_running, last_tokens_at, at_once, reserved = counted
    total, today = connection.execute(
        select(
            func.sum(spending.c.nanodollars),
            func.sum(case((spending.c.day == day_of(now), spending.c.nanodollars), else_=0)),
        ).where(spending.c.client_id == client_id)
    ).one()
    return Usage(
        now=now,
        requests=int(requests or 0),
        last_request_at=last_request_at,
        tokens=int(tokens or 0),
        tokens_running=int(tokens_running or 0),
        last_tokens_at=last_tokens_at,
        running=int(at_once or 0),
        spent_today=int(today or 0),
        spent_total=int(total or 0),
        reserved=int(reserved or 0),
    )


def _wait_s(connection: Connection, client: Client, usage: Usage, refusal: Refusal, tokens: int) -> float | None:
    """Return after how many seconds the request would be admitted if no other one comes. None if never."""
    if refusal.kind == "quota":
        return DAY_S - usage.now % DAY_S if refusal.limit == "usd_per_day" else None
    frees_at = [_place_free_at(connection, client, usage), _tokens_free_at(connection, client, usage, tokens)]
    soon = SOON_S if refusal.limit not in ("requests", "tokens") else 0.0
    return max([soon, *(at - usage.now for at in frees_at if at is not None)])


def _place_free_at(connection: Connection, client: Client, usage: Usage) -> float | None:
    """Return when the limit of requests admits another one. None if it does now."""
    limit = client.budget.requests_per_minute
    if limit is None or usage.requests < limit:
        return None
    # Another request fits in once the oldest of the last `limit` requests is a minute old.
    of_this_clock = admissions.c.admitted_at <= usage.now + AHEAD_S
    times = select(admissions.c.admitted_at).where(admissions.c.client_id == client.id, of_this_clock)
    newest_first = times.order_by(admissions.c.admitted_at.desc())
    return float(connection.execute(newest_first.offset(limit - 1).limit(1)).scalar_one()) + MINUTE_S


def _tokens_free_at(connection: Connection, client: Client, usage: Usage, tokens: int) -> float | None:
    """Return when this many tokens (at least 1) may be admitted. None if they may be admitted now."""
    limit = client.budget.tokens_per_minute
    if limit is None or (excess := usage.tokens + max(1, min(tokens, limit)) - limit) <= 0:
        return None
    row = admissions.c
    answered = select(row.settled_at, row.tokens).where(
        row.client_id == client.id, row.settled_at > usage.now - MINUTE_S, row.settled_at <= usage.now + AHEAD_S
    )
    for answer in connection.execute(answered.order_by(row.settled_at)):
        excess -= answer.tokens
        if excess <= 0:
            return float(answer.settled_at) + MINUTE_S
    return usage.now + SOON_S
