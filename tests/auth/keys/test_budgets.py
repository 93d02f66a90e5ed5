"""Limits hold, for all proxies together and whatever happens to one of them: on both kinds of database."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text, update

from auth.keys.budgets import DAY_S, Admission, Budgets, OverBudgetError, Spent, day_of, spent
from auth.keys.clients import Client, Clients
from auth.keys.limits import Budget
from storage.database import Database, StoreError
from storage.lease_renewal import LEASE_S
from storage.tables import admissions

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
MIDNIGHT = 1_763_683_200.0  # of 2025-11-21, UTC


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = MIDNIGHT + 1000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def budgets(database: Database, clock: Clock) -> AsyncIterator[Budgets]:
    async with Budgets(database, clock=clock) as budgets:
        yield budgets


class Keys:
    """Makes keys with a budget."""

    def __init__(self, database: Database) -> None:
        self._clients = Clients(database)
        self._made = 0

    def secret(self, **limits: float) -> str:
        self._made += 1
        return self._clients.make(f"key {self._made}", budget=Budget(**limits))  # type: ignore[arg-type]

    async def __call__(self, **limits: float) -> Client:
        client = await self._clients.check(self.secret(**limits))
        assert client
        return client


@pytest.fixture
def key(database: Database) -> Keys:
    return Keys(database)


async def refusal(budgets: Budgets, client: Client, *, tokens: int = 0, usd: float = 0.0) -> OverBudgetError:
    with pytest.raises(OverBudgetError) as raised:
        await budgets.admit(client, tokens=tokens, usd=usd)
    return raised.value


# The minute.


async def test_no_more_requests_are_admitted_in_a_minute_than_the_key_may_make(
    budgets: Budgets, key: Keys, clock: Clock
) -> None:
    client = await key(requests_per_minute=3)
    for _ in range(3):
        await budgets.admit(client)
        clock.now += 10
    refused = await refusal(budgets, client)

    # The first was 30 seconds ago: its place is free in another 30.
    assert (refused.kind, refused.limit, refused.retry_after_s) == ("rate", "requests", 30)
    assert dict(refused.headers)["retry-after"] == "30"
    assert dict(refused.headers)["retry-after-ms"] == "30000"


async def test_the_minute_slides(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(requests_per_minute=2)
    await budgets.admit(client)
    clock.now += 59
    await budgets.admit(client)
    clock.now += 0.9
    assert (await refusal(budgets, client)).retry_after_s == pytest.approx(0.1, abs=1e-5)
    clock.now += 0.2
    await budgets.admit(client)

    # The two of the last seconds fill it, though a new minute has begun by the clock on the wall.
    assert (await refusal(budgets, client)).retry_after_s == pytest.approx(58.9, abs=1e-5)


async def test_a_refused_request_does_not_count(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(requests_per_minute=1)
    await budgets.admit(client)
    for _ in range(5):
        clock.now += 10
        await refusal(budgets, client)
    clock.now += 10

    assert await budgets.admit(client)


async def test_waiting_as_long_as_it_says_is_enough(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(requests_per_minute=2, tokens_per_minute=100)
    waited = 0
    for tokens in (30, 30, 80, 10, 100, 1):
        try:
            admission = await budgets.admit(client, tokens=tokens)
        except OverBudgetError as error:
            waited += 1
            clock.now += error.retry_after_s or 0.0
            admission = await budgets.admit(client, tokens=tokens)
        clock.now += 7
        await budgets.settle(admission, tokens, 0.0)
    assert waited


async def test_tokens_count_for_a_minute_from_the_answer_on(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(tokens_per_minute=1000)
    admission = await budgets.admit(client)
    clock.now += 300
    await budgets.settle(admission, 1500, 0.01)
    clock.now += 20
    refused = await refusal(budgets, client)
    clock.now += 40

    assert (refused.kind, refused.limit, refused.retry_after_s) == ("rate", "tokens", 40)
    assert await budgets.admit(client)


async def test_the_possible_tokens_of_a_request_count_until_it_is_settled(budgets: Budgets, key: Keys) -> None:
    client = await key(tokens_per_minute=1000)
    admission = await budgets.admit(client, tokens=900)
    refused = await refusal(budgets, client, tokens=200)
    await budgets.settle(admission, 100, 0.01)

    assert (refused.limit, refused.retry_after_s) == ("tokens", 1)
    assert await budgets.admit(client, tokens=200)


async def test_the_headers_of_an_admission_count_it(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(requests_per_minute=10, tokens_per_minute=1000)
    first = await budgets.admit(client, tokens=300)
    await budgets.settle(first, 120, 0.0)
    clock.now += 12.5

    second = await budgets.admit(client)

    assert dict(first.headers) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "700",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert dict(second.headers) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "880",
        "x-ratelimit-reset-tokens": "47.5s",
    }


async def test_one_keys_requests_are_not_anothers(budgets: Budgets, key: Keys) -> None:
    one, other = await key(requests_per_minute=1), await key(requests_per_minute=1)
    await budgets.admit(one)

    assert await budgets.admit(other)


# At once.


async def test_a_place_is_free_again_when_a_request_is_settled(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(concurrent=2)
    first, _ = await budgets.admit(client), await budgets.admit(client)
    refused = await refusal(budgets, client)
    await budgets.settle(first, 0, 0.0)

    assert (refused.kind, refused.limit, refused.retry_after_s) == ("rate", "concurrent", 1)
    assert await budgets.admit(client)
    await refusal(budgets, client)


async def test_the_places_of_a_proxy_that_died_are_free_when_its_lease_ends(
    database: Database, database_url: str, budgets: Budgets, key: Keys, clock: Clock
) -> None:
    secret = key.secret(concurrent=2)
    with a_proxy(database_url, secret, 2, "hold") as process:
        begin([process])
        assert process.stdout
        assert process.stdout.readline() == "2\n"
        process.kill()
    client = await Clients(database).check(secret)
    assert client
    clock.now = database.read(database.now)
    held = await refusal(budgets, client)
    clock.now += LEASE_S + 1

    assert held.limit == "concurrent"
    assert [await budgets.admit(client) for _ in range(2)]
    await refusal(budgets, client)


async def test_a_request_that_runs_for_long_keeps_its_place(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(concurrent=1)
    await budgets.admit(client)
    for _ in range(10):
        clock.now += LEASE_S - 1
        await budgets.running.renew()

    assert (await refusal(budgets, client)).limit == "concurrent"


async def test_leases_are_renewed_by_themselves(database: Database, key: Keys) -> None:
    client = await key()

    def lease(connection: Connection) -> float:
        return float(connection.execute(select(admissions.c.lease_until)).scalar_one())

    async with asyncio.timeout(60), Budgets(database, lease_s=0.03) as budgets:
        await budgets.admit(client)
        first = await database.aread(lease)
        while await database.aread(lease) == first:  # noqa: ASYNC110 — the database tells nobody
            await asyncio.sleep(0.005)


async def test_renewing_goes_on_when_the_database_was_away_for_a_while(
    database: Database, key: Keys, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = asyncio.Event()
    async with asyncio.timeout(60), Budgets(database, lease_s=0.01) as budgets:
        times = iter([True, False])

        async def renew() -> None:
            if next(times, False):
                raise StoreError("the database cannot be used: away")
            renewed.set()

        monkeypatch.setattr(budgets.running, "renew", renew)
        with caplog.at_level(logging.WARNING):
            await renewed.wait()

    assert "away" in caplog.text


async def test_a_request_that_is_settled_after_its_lease_still_costs(
    database: Database, budgets: Budgets, key: Keys, clock: Clock
) -> None:
    client = await key()
    admission = await budgets.admit(client)
    clock.now += 3 * LEASE_S
    await budgets.admit(client)
    await budgets.settle(admission, 5, 0.5)

    assert spent(database, clock)[client.id].usd == 0.5


# Money.


async def test_the_days_money_is_there_again_at_midnight_of_utc(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(usd_per_day=1.0)
    for _ in range(10):
        await budgets.settle(await budgets.admit(client), 10, 0.1)
    clock.now = MIDNIGHT + DAY_S - 5
    refused = await refusal(budgets, client)
    clock.now += 5

    assert (refused.kind, refused.limit, refused.retry_after_s) == ("quota", "usd_per_day", 5)
    assert dict(refused.headers) == {"x-should-retry": "false"}
    assert await budgets.admit(client)


async def test_all_the_money_is_gone_for_good(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(usd_total=1.0, usd_per_day=0.6)
    for _ in range(2):
        await budgets.settle(await budgets.admit(client), 10, 0.5)
        clock.now += DAY_S
    refused = await refusal(budgets, client)

    assert (refused.kind, refused.limit, refused.retry_after_s) == ("quota", "usd_total", None)


async def test_money_that_a_running_request_may_need_is_not_given_to_another(budgets: Budgets, key: Keys) -> None:
    client = await key(usd_total=1.0)
    admission = await budgets.admit(client, usd=0.7)
    refused = await refusal(budgets, client, usd=0.7)
    await budgets.settle(admission, 10, 0.1)

    assert (refused.kind, refused.limit) == ("rate", "usd_total")
    assert await budgets.admit(client, usd=0.7)


async def test_the_possible_cost_of_a_turn_is_reserved_until_it_is_settled(budgets: Budgets, key: Keys) -> None:
    client = await key(usd_total=1.0)
    one, other = await budgets.admit(client), await budgets.admit(client)
    await budgets.reserve(one, client, 0.7)
    with pytest.raises(OverBudgetError) as raised:
        await budgets.reserve(other, client, 0.7)
    await budgets.settle(one, 10, 0.1)
    await budgets.reserve(other, client, 0.7)

    assert (raised.value.kind, raised.value.limit) == ("rate", "usd_total")
    assert dict(raised.value.headers)["retry-after"] == "1"


async def test_a_request_reserves_for_each_of_its_turns_and_stands_in_no_way_of_its_own(
    budgets: Budgets, key: Keys
) -> None:
    client = await key(usd_total=1.0)
    one, other = await budgets.admit(client), await budgets.admit(client)
    for _ in range(3):
        await budgets.reserve(one, client, 0.4)

    # What is reserved is more than there is; it is its own, and what has begun goes on.
    with pytest.raises(OverBudgetError):
        await budgets.reserve(other, client, 0.01)
    await budgets.reserve(other, client, 0.01, may_refuse=False)


async def test_the_last_dollars_are_spent_by_one_request_at_a_time(budgets: Budgets, key: Keys) -> None:
    client = await key(usd_per_day=1.0)
    await budgets.settle(await budgets.admit(client), 10, 0.9)
    one, other = await budgets.admit(client), await budgets.admit(client)
    await budgets.reserve(one, client, 5.0)
    with pytest.raises(OverBudgetError) as raised:
        await budgets.reserve(other, client, 5.0)

    assert (raised.value.kind, raised.value.limit) == ("rate", "usd_per_day")


async def test_the_reservation_of_a_dead_proxy_is_released(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(usd_total=1.0)
    dead = await budgets.admit(client)
    await budgets.reserve(dead, client, 1.0)
    clock.now += LEASE_S + 1

    await budgets.reserve(await budgets.admit(client), client, 1.0)


async def test_fifty_at_once_reserve_no_more_than_there_is(database: Database, key: Keys) -> None:
    client = await key(usd_total=1.0)

    async def ask(budgets: Budgets) -> bool:
        try:
            await budgets.reserve(await budgets.admit(client), client, 0.3)
        except OverBudgetError:
            return False
        return True

    async with Budgets(database) as one, Budgets(database) as other:
        answered = await asyncio.gather(*(ask(one if n % 2 else other) for n in range(50)))

    assert sum(answered) == 3


async def test_a_key_without_dollars_reserves_nothing(
    budgets: Budgets, key: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await key(requests_per_minute=5)
    admission = await budgets.admit(client)
    monkeypatch.setattr(database, "awrite", None)

    await budgets.reserve(admission, client, 1.0)


async def test_a_clock_that_is_set_back_locks_no_key_out(budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key(requests_per_minute=2, tokens_per_minute=100, concurrent=1)
    await budgets.settle(await budgets.admit(client), 100, 0)
    clock.now += 61
    await budgets.settle(await budgets.admit(client), 100, 0)
    clock.now += 1
    clock.now -= 3600

    admission = await budgets.admit(client)
    await budgets.settle(admission, 100, 0)
    refused = await refusal(budgets, client)

    assert (refused.kind, refused.limit) == ("rate", "tokens")
    assert refused.retry_after_s is not None and refused.retry_after_s <= 60


async def test_a_place_of_a_dead_proxy_is_free_again_though_the_clock_was_set_back(
    budgets: Budgets, key: Keys, clock: Clock
) -> None:
    client = await key(concurrent=1)
    await budgets.admit(client)
    clock.now -= 3600

    assert await budgets.admit(client)


async def test_usage_is_stored_for_each_key(database: Database, budgets: Budgets, key: Keys, clock: Clock) -> None:
    one, other, idle = await key(), await key(), await key()
    await budgets.settle(await budgets.admit(one), 100, 0.25, usd_is_estimated=False)
    clock.now += DAY_S
    await budgets.settle(await budgets.admit(one), 10, 0.5)
    await budgets.settle(await budgets.admit(one), 1, None)
    await budgets.settle(await budgets.admit(other), 7, 0.000000005)

    assert spent(database, clock) == {
        one.id: Spent(requests=3, tokens=111, usd=0.75, usd_estimated=0.5, usd_today=0.5, requests_unpriced=1),
        other.id: Spent(requests=1, tokens=7, usd=5e-9, usd_estimated=5e-9, usd_today=5e-9),
    }
    assert idle.id not in spent(database, clock)


async def test_a_request_is_booked_once(database: Database, budgets: Budgets, key: Keys, clock: Clock) -> None:
    client = await key()
    admission = await budgets.admit(client)
    await asyncio.gather(*(budgets.settle(admission, 5, 0.5) for _ in range(4)))
    clock.now += 600
    await budgets.admit(client)
    await budgets.settle(admission, 5, 0.5)

    assert spent(database, clock)[client.id].usd == 0.5


@pytest.mark.parametrize(("tokens", "usd"), [(-1, 0.0), (10**30, 0.0), (1, -0.1), (1, 1e30), (1, float("nan"))])
async def test_nothing_can_be_earned_or_used_without_measure(
    budgets: Budgets, key: Keys, tokens: int, usd: float
) -> None:
    client = await key()
    admission = await budgets.admit(client)

    with pytest.raises(ValueError, match="a request cannot use"):
        await budgets.settle(admission, tokens, usd)
    with pytest.raises(ValueError, match="a request cannot use"):
        await budgets.admit(client, tokens=tokens, usd=usd)


def test_a_day_begins_at_midnight_of_utc() -> None:
    assert (day_of(MIDNIGHT - 0.001), day_of(MIDNIGHT)) == ("2025-11-20", "2025-11-21")


# Cancelled, and tidied up.


async def test_a_request_that_is_cancelled_while_it_is_admitted_leaves_nothing_running(
    database: Database, key: Keys, clock: Clock
) -> None:
    client = await key(concurrent=1)
    async with Budgets(database, clock=clock) as budgets:
        admitting = asyncio.create_task(budgets.admit(client))
        await asyncio.sleep(0)
        admitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admitting

    async with Budgets(database, clock=clock) as budgets:
        assert await budgets.admit(client)


async def test_a_request_that_is_cancelled_while_it_is_settled_is_settled(
    database: Database, key: Keys, clock: Clock
) -> None:
    client = await key(concurrent=1)
    async with Budgets(database, clock=clock) as budgets:
        settling = asyncio.create_task(budgets.settle(await budgets.admit(client), 5, 0.5))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling

    assert spent(database, clock)[client.id].usd == 0.5


async def test_rows_that_no_longer_count_are_deleted(
    database: Database, budgets: Budgets, key: Keys, clock: Clock
) -> None:
    client = await key()
    for _ in range(5):
        await budgets.settle(await budgets.admit(client), 1, 0.0)
    await budgets.admit(client)
    clock.now += 2 * DAY_S
    await budgets.admit(client)

    rows = select(func.count()).select_from(admissions)
    assert database.read(lambda connection: connection.execute(rows).scalar()) == 1


async def test_budgets_that_renew_no_leases_admit_nothing(database: Database, key: Keys) -> None:
    client = await key()

    with pytest.raises(RuntimeError, match="async with"):
        await Budgets(database).admit(client)


# Many at once.


async def test_concurrent_requests_are_admitted_up_to_the_limit(budgets: Budgets, key: Keys) -> None:
    client = await key(requests_per_minute=10)
    tried = await asyncio.gather(*(budgets.admit(client) for _ in range(50)), return_exceptions=True)

    assert sum(isinstance(one, Admission) for one in tried) == 10
    assert sum(isinstance(one, OverBudgetError) for one in tried) == 40


def test_concurrent_threads_are_admitted_up_to_the_limit(database: Database, key: Keys, clock: Clock) -> None:
    client = asyncio.run(key(concurrent=10))

    async def admit(times: int) -> int:
        async with Budgets(database, clock=clock) as budgets:
            tried = await asyncio.gather(*(budgets.admit(client) for _ in range(times)), return_exceptions=True)
        return sum(isinstance(one, Admission) for one in tried)

    with ThreadPoolExecutor(5) as threads:
        admitted = list(threads.map(lambda _: asyncio.run(admit(10)), range(5)))

    assert sum(admitted) == 10


@contextmanager
def a_proxy(database_url: str, secret: str, requests: int, then: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that waits for a line, and then admits."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.auth.keys.admit_in_a_process", database_url, secret, str(requests), then],
        cwd=ROOT,
        env={"HOME": "/nonexistent"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def begin(processes: list["subprocess.Popen[str]"]) -> None:
    for process in processes:
        assert process.stdin
        process.stdin.write("now\n")
        process.stdin.flush()


@pytest.mark.parametrize("limits", [{"requests_per_minute": 10}, {"concurrent": 10}], ids=["a minute", "at once"])
def test_concurrent_processes_are_admitted_up_to_the_limit(
    database_url: str, key: Keys, limits: dict[str, float]
) -> None:
    secret = key.secret(**limits)
    with (
        a_proxy(database_url, secret, 17, "hold") as one,
        a_proxy(database_url, secret, 17, "hold") as two,
        a_proxy(database_url, secret, 16, "hold") as three,
    ):
        begin([one, two, three])
        admitted = [int(process.stdout.readline()) for process in (one, two, three) if process.stdout]

    assert sum(admitted) == 10


def test_concurrent_bookings_of_several_processes_add_up(database: Database, database_url: str, key: Keys) -> None:
    secret = key.secret()
    with a_proxy(database_url, secret, 25, "settle") as one, a_proxy(database_url, secret, 25, "settle") as two:
        begin([one, two])
        admitted = [process.stdout.readline() for process in (one, two) if process.stdout]

    assert admitted == ["25\n", "25\n"]
    (used,) = spent(database).values()
    assert (used.requests, used.tokens, used.usd) == (50, 150, 5.0)


async def test_a_key_that_waits_does_not_keep_others_waiting(database: Database, budgets: Budgets, key: Keys) -> None:
    one, other = await key(), await key()
    if database.is_sqlite:
        pytest.skip("SQLite has one writer; PostgreSQL locks a key's row")

    def hold(connection: Connection) -> Admission:
        connection.execute(text("SELECT id FROM clients WHERE id = :id FOR NO KEY UPDATE"), {"id": one.id})
        # Another loop in another thread: this one waits for it, with the row locked.
        return asyncio.run(admit_in_its_own())

    async def admit_in_its_own() -> Admission:
        async with Budgets(database) as elsewhere:
            return await elsewhere.admit(other)

    assert await asyncio.to_thread(database.write, hold)


async def test_the_databases_clock_is_the_one_that_counts(database: Database, key: Keys) -> None:
    client = await key(requests_per_minute=1)

    def age(connection: Connection) -> None:
        connection.execute(update(admissions).values(admitted_at=admissions.c.admitted_at - 61))

    async with Budgets(database) as budgets:
        await budgets.admit(client)
        await refusal(budgets, client)
        database.write(age)

        assert await budgets.admit(client)
