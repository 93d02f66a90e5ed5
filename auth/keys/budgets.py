"""How much a key may use: requests and tokens a minute, requests at once, dollars a day and in all.

Theory of operation
-------------------
Each request is admitted before it runs and settled when it is answered; both are one transaction. Between them stands
a row in the database, which all proxies share, so that a limit holds for all of them together. Admissions of one key
are made one after the other (a lock on the key's row; on SQLite the one write lock), so each sees all before it.

Minutes slide: in no sixty seconds, wherever they begin, are more requests admitted than the key may make. Tokens are
counted from the moment that the answer tells them, since an answer may take longer than a minute; until then a request
counts with what its caller says it may come to, if anything. Without such an estimate a key can overdraw its tokens by
what it has running at once; with a true upper bound it never can.

Of dollars a request reserves what each of its turns may cost, before the turn is played, and gives that back when it is
settled. What is reserved counts as spent for all others. A request that may cost more than all that is left is let run
when nothing else does, so that the last dollars can be spent; by what it costs more than that, and by what an estimate
was too low, a key can overdraw.

A proxy that dies settles nothing. Its requests therefore hold a lease, which a live proxy renews for all it has
running: the places that the dead one held are free again after `lease_s`.
"""

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

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
from storage.database import Database, StoreError, insert_into
from storage.tables import admissions, clients, spending

DAY_S = 86_400
LEASE_S = 30.0

# What is dated later than this is of a clock that has been set back since, and counts no more: else it would lock its
# key out until the clock has come there again.
AHEAD_S = MINUTE_S

# When a place comes free that a running request holds, nobody knows; so soon it is worth asking again.
SOON_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may run. ``headers`` are for its answer: what OpenAI tells of the limits when all is well."""

    id: str
    client_id: str
    headers: Headers


class OverBudgetError(Exception):
    """A request may not run now. The message is for whoever holds the key.

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

    ``usd`` includes ``usd_estimated``, which is by the price of another model, or was booked by an older version. It
    leaves out the ``requests_unpriced``, whose price is not known.
    """

    requests: int = 0
    tokens: int = 0
    usd: float = 0.0
    usd_estimated: float = 0.0
    usd_today: float = 0.0
    requests_unpriced: int = 0


class Budgets:
    """Admits requests and settles them. Use it in an ``async with``: while that lasts, leases are renewed.

    ``clock`` gives Unix seconds; without one it is the database's, which all proxies share.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], float] | None = None, lease_s: float = LEASE_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._lease_s = lease_s
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._keep_renewing(), name="renew the leases of running requests")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def admit(self, client: Client, *, tokens: int = 0, usd: float = 0.0) -> Admission:
        """Let a request run, or not. What is admitted must be settled, however it ends.

        ``tokens`` and ``usd`` are what the request may come to; they count until it is settled. A request that may come
        to more than a whole minute's tokens waits until nothing else counts.
        Raises OverBudgetError, and StoreError. Cancelled, it leaves nothing running, and counts as a request.
        """
        if self._renewing is None:
            raise RuntimeError("budgets are used in an `async with`, which renews their leases")
        _check(tokens, usd)
        work = functools.partial(self._admit, client=client, tokens=tokens, nano=nanodollars(usd))
        deciding = self._start(self._database.awrite(work), "admit a request")
        try:
            decided = await asyncio.shield(deciding)
        except asyncio.CancelledError:
            self._start(self._give_back(deciding), "give back an admission")
            raise
        if isinstance(decided, OverBudgetError):
            raise decided
        self._running.add(decided.id)
        return decided

    async def reserve(self, admission: Admission, client: Client, usd: float, *, may_refuse: bool = True) -> None:
        """Reserve so many dollars more for a request that was admitted, until it is settled.

        Nothing happens for a key without a budget in dollars. Raises OverBudgetError, unless it may not be refused any
        more, and StoreError.
        """
        if not client.budget.has_usd:
            return
        _check(0, usd)
        work = functools.partial(
            self._reserve, admission=admission, client=client, nano=nanodollars(usd), may_refuse=may_refuse
        )
        refused = await asyncio.shield(self._start(self._database.awrite(work), "reserve dollars"))
        if refused is not None:
            raise refused

    async def settle(self, admission: Admission, tokens: int, usd: float | None, usd_is_estimated: bool = True) -> None:
        """Book what a request has used; its place is free again. A second time, nothing happens.

        ``usd`` is None if the price is not known. A request that failed before Claude answered used 0. Cancelled, it is
        settled all the same.
        Raises StoreError: then it may be tried again, and the place comes free with its lease.
        """
        _check(tokens, usd)
        self._running.discard(admission.id)
        work = functools.partial(
            self._settle, admission=admission, tokens=tokens, nano=nanodollars(usd), is_estimated=usd_is_estimated
        )
        await asyncio.shield(self._start(self._database.awrite(work), "settle a request"))

    async def renew(self) -> None:
        """Say that what runs here still runs. Raises StoreError."""
        running = tuple(self._running)
        if not running:
            return

        def work(connection: Connection) -> None:
            until = self._now(connection) + self._lease_s
            connection.execute(update(admissions).where(admissions.c.id.in_(running)).values(lease_until=until))

        await self._database.awrite(work)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self.renew()
            except StoreError as error:
                log.warning("running requests may be counted as ended: %s", error)

    async def _give_back(self, deciding: "asyncio.Task[Admission | OverBudgetError]") -> None:
        with contextlib.suppress(StoreError):
            decided = await deciding
            if isinstance(decided, Admission):
                await self._database.awrite(
                    functools.partial(self._settle, admission=decided, tokens=0, nano=0, is_estimated=False)
                )

    def _start[T](self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start what must end though nobody waits for it any more."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _now(self, connection: Connection) -> float:
        return self._clock() if self._clock else self._database.now(connection)

    def _admit(self, connection: Connection, client: Client, tokens: int, nano: int) -> Admission | OverBudgetError:
        # NO KEY UPDATE: it excludes itself, and not those who only refer to the row, as settling does.
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
    """Return the day of UTC: ``2026-11-20``."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def spent(database: Database, clock: Callable[[], float] | None = None) -> dict[str, Spent]:
    """Return what each key has used, by the key's id. Keys that were never used are not there. Blocks."""

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
        raise ValueError(f"{tokens} tokens for {usd} USD is nothing that a request can use")


def _forget(connection: Connection, client_id: str, now: float) -> None:
    """Delete what no longer counts. What was never settled is kept for a day: it may be only slow."""
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
    """Return in how many seconds such a request may pass, if nothing else is asked meanwhile; None if never."""
    if refusal.kind == "quota":
        return DAY_S - usage.now % DAY_S if refusal.limit == "usd_per_day" else None
    frees_at = [_place_free_at(connection, client, usage), _tokens_free_at(connection, client, usage, tokens)]
    soon = SOON_S if refusal.limit not in ("requests", "tokens") else 0.0
    return max([soon, *(at - usage.now for at in frees_at if at is not None)])


def _place_free_at(connection: Connection, client: Client, usage: Usage) -> float | None:
    """Return when the minute has room for another request, None if it has."""
    limit = client.budget.requests_per_minute
    if limit is None or usage.requests < limit:
        return None
    # The oldest of the last so many requests must be a minute old.
    of_this_clock = admissions.c.admitted_at <= usage.now + AHEAD_S
    times = select(admissions.c.admitted_at).where(admissions.c.client_id == client.id, of_this_clock)
    newest_first = times.order_by(admissions.c.admitted_at.desc())
    return float(connection.execute(newest_first.offset(limit - 1).limit(1)).scalar_one()) + MINUTE_S


def _tokens_free_at(connection: Connection, client: Client, usage: Usage, tokens: int) -> float | None:
    """Return when the minute has room for so many tokens, at least one; None if it has."""
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
