"""One at a time has a thing, in the order in which they asked, and a dead one for no longer than its lease."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, update

from storage.database import Database, StoreError
from storage.lease_renewal import LEASE_S
from storage.leases import BusyError, Hold, Leases
from storage.tables import tickets
from tests.storage.kept import Clock, count

pytestmark = pytest.mark.anyio

LONG_S = 60.0


@pytest.fixture
def leases(database: Database, clock: Clock) -> Leases:
    return Leases(database, clock=clock, poll_s=0.005)


@pytest.fixture
def others(other: Database, clock: Clock) -> Leases:
    return Leases(other, clock=clock, poll_s=0.005)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 — what is waited for is another's row
        await asyncio.sleep(0.002)


async def test_with_wait_0_a_held_lease_is_busy_at_once(leases: Leases, others: Leases) -> None:
    async with leases.hold("x", wait_s=0):
        with pytest.raises(BusyError, match="x"):
            async with others.hold("x", wait_s=0):
                pytest.fail("two have it")
    async with others.hold("x", wait_s=0) as hold:
        assert not hold.lost


async def test_things_of_other_names_are_free(leases: Leases) -> None:
    async with leases.hold("x", wait_s=0) as x, leases.hold("y", wait_s=0) as y:
        assert (await leases.holder("x"), await leases.holder("y")) == (x.number, y.number)
        assert await leases.holder("z") is None


async def test_all_proxies_have_it_in_the_order_in_which_they_asked(
    leases: Leases, others: Leases, database: Database
) -> None:
    having: list[int] = []
    had: list[int] = []

    async def have(n: int, where: Leases) -> None:
        async with where.hold("x", wait_s=LONG_S):
            having.append(n)
            assert len(having) == 1
            await asyncio.sleep(0.002)
            having.remove(n)
            had.append(n)

    async with leases.hold("x", wait_s=0):
        waiting = []
        for n in range(10):
            waiting.append(asyncio.create_task(have(n, (leases, others)[n % 2])))
            await until(lambda n=n: count(database, tickets) == n + 2)  # type: ignore[misc]
    await asyncio.gather(*waiting)

    assert had == list(range(10))
    assert count(database, tickets) == 0


async def test_many_who_ask_at_once_have_it_one_at_a_time(leases: Leases, others: Leases) -> None:
    having = 0
    had = 0

    async def have(where: Leases) -> None:
        nonlocal having, had
        async with where.hold("x", wait_s=LONG_S):
            having += 1
            assert having == 1
            await asyncio.sleep(0)
            having -= 1
            had += 1

    await asyncio.gather(*(have((leases, others)[n % 2]) for n in range(20)))

    assert had == 20


async def test_a_request_that_fails_lets_it_go(leases: Leases, others: Leases) -> None:
    with pytest.raises(ZeroDivisionError):
        async with leases.hold("x", wait_s=0):
            raise ZeroDivisionError

    async with others.hold("x", wait_s=0):
        pass


async def test_a_waiter_that_times_out_leaves_the_queue(leases: Leases, others: Leases, database: Database) -> None:
    async with leases.hold("x", wait_s=0):
        with pytest.raises(BusyError):
            async with others.hold("x", wait_s=0.02):
                pytest.fail("two have it")
        assert count(database, tickets) == 1


async def test_a_cancelled_waiter_leaves_the_queue(leases: Leases, others: Leases, database: Database) -> None:
    async def have() -> None:
        async with others.hold("x", wait_s=LONG_S):
            pytest.fail("two have it")

    async with leases.hold("x", wait_s=0):
        waiting = asyncio.create_task(have())
        await until(lambda: count(database, tickets) == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: count(database, tickets) == 1)


async def test_a_waiter_cancelled_while_taking_a_ticket_leaves_no_ticket(leases: Leases, database: Database) -> None:
    async def have() -> None:
        async with leases.hold("x", wait_s=LONG_S):
            pytest.fail("it was cancelled")

    for _ in range(10):
        taking = asyncio.create_task(have())
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    async with leases.hold("x", wait_s=LONG_S) as last:
        assert last.number >= 1

    await until(lambda: count(database, tickets) == 0)


async def test_a_dead_holders_lease_is_free_after_it_expires(leases: Leases, others: Leases, clock: Clock) -> None:
    async with leases.hold("x", wait_s=0) as dead:
        clock.now += LEASE_S - 1
        with pytest.raises(BusyError):
            async with others.hold("x", wait_s=0):
                pytest.fail("two have it")
        clock.now += 1
        async with others.hold("x", wait_s=0) as hold:
            await leases.renew(dead)

            assert dead.lost
            assert not hold.lost
            assert await others.holder("x") == hold.number


async def test_a_holder_that_slept_too_long_does_not_disturb_later_holders(
    leases: Leases, others: Leases, clock: Clock
) -> None:
    async with contextlib.AsyncExitStack() as later:
        async with leases.hold("x", wait_s=0) as slept:
            clock.now += LEASE_S
            async with others.hold("x", wait_s=0):
                pass
            third = await later.enter_async_context(others.hold("x", wait_s=0))
            await leases.renew(slept)
            assert slept.lost

        assert await others.holder("x") == third.number
        with pytest.raises(BusyError):
            async with leases.hold("x", wait_s=0):
                pytest.fail("two have it")


async def test_a_dead_one_leaves_its_place_to_the_next_in_line(
    leases: Leases, database: Database, clock: Clock
) -> None:
    line = [
        {"name": "x", "number": 1, "lease_until": clock.now},
        {"name": "x", "number": 2, "lease_until": clock.now + 1},
    ]
    database.write(lambda connection: connection.execute(tickets.insert(), line) and None)

    with pytest.raises(BusyError):
        async with leases.hold("x", wait_s=0):
            pytest.fail("the second is the next")
    assert await leases.holder("x") == 2
    clock.now += 1
    async with leases.hold("x", wait_s=0) as hold:
        assert hold.number == 3


async def test_a_holder_that_renews_keeps_the_lease(leases: Leases, others: Leases, clock: Clock) -> None:
    async with leases.hold("x", wait_s=0) as hold:
        for _ in range(3):
            clock.now += LEASE_S - 1
            await leases.renew(hold)
        with pytest.raises(BusyError):
            async with others.hold("x", wait_s=0):
                pytest.fail("two have it")

        assert not hold.lost


async def test_an_expired_lease_that_nobody_took_can_be_renewed(leases: Leases, clock: Clock) -> None:
    async with leases.hold("x", wait_s=0) as hold:
        clock.now += 10 * LEASE_S
        assert await leases.holder("x") is None
        await leases.renew(hold)

        assert not hold.lost
        assert await leases.holder("x") == hold.number


async def test_a_waiter_whose_ticket_expired_does_not_get_the_lease(
    leases: Leases, others: Leases, database: Database, clock: Clock
) -> None:
    async def have() -> None:
        async with others.hold("x", wait_s=LONG_S):
            pytest.fail("its ticket was gone")

    def pass_time(connection: Connection) -> None:
        # In one transaction, so that the waiter cannot look in between and find both leases run out.
        clock.now += LEASE_S
        renewed = update(tickets).where(tickets.c.number == first.number).values(lease_until=clock.now + LEASE_S)
        connection.execute(renewed)
        leases.forget_dead(connection, clock.now, 100)

    async with leases.hold("x", wait_s=0) as first:
        waiting = asyncio.create_task(have())
        await until(lambda: count(database, tickets) == 2)
        database.write(pass_time)
        with pytest.raises(BusyError):
            await waiting
        await leases.renew(first)
        assert not first.lost


async def test_holders_and_waiters_renew_by_themselves(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock=clock, lease_s=0.03, poll_s=0.005)

    def leased_until() -> list[float]:
        query = tickets.select().order_by(tickets.c.number)
        return [row.lease_until for row in database.read(lambda connection: connection.execute(query).all())]

    async def have() -> None:
        async with leases.hold("x", wait_s=LONG_S):
            pass

    async with leases.hold("x", wait_s=0):
        waiting = asyncio.create_task(have())
        await until(lambda: count(database, tickets) == 2)
        clock.now += 0.02
        await until(lambda: leased_until() == [clock.now + 0.03] * 2)
    await waiting


async def test_a_database_that_fails_while_renewing_does_not_end_the_renewing(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(leases._database, lease_s=0.003, poll_s=0.005)
    renew = leases.renew
    tried: list[Hold] = []

    async def fail_once(hold: Hold) -> None:
        tried.append(hold)
        if len(tried) == 1:
            raise StoreError("not now")
        await renew(hold)

    monkeypatch.setattr(leases, "renew", fail_once)
    async with leases.hold("x", wait_s=0) as hold:
        await until(lambda: len(tried) > 2)

        assert not hold.lost
