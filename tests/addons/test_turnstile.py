"""Work that arrives at once is spread over rounds of the event loop."""

import asyncio

import pytest

from addons.turnstile import Turnstile

pytestmark = pytest.mark.anyio


async def rounds_of(turnstile: Turnstile, callers: int) -> list[tuple[int, int]]:
    """Send callers through at once. Return the number of each and the round of the loop in which it passed."""
    now = 0
    passed = []

    async def caller(number: int) -> None:
        await turnstile.wait(str(number))
        passed.append((number, now))

    tasks = [asyncio.create_task(caller(number)) for number in range(callers)]
    while len(passed) < callers:
        await asyncio.sleep(0)
        now += 1
    await asyncio.gather(*tasks)
    return passed


async def test_at_most_so_many_pass_in_one_round() -> None:
    passed = await rounds_of(Turnstile(4), 50)

    rounds = [at for _, at in passed]
    assert max(rounds.count(at) for at in rounds) == 4


async def test_callers_pass_in_the_order_in_which_they_came() -> None:
    passed = await rounds_of(Turnstile(3), 20)

    assert [number for number, _ in passed] == list(range(20))


async def test_a_caller_that_comes_alone_does_not_wait() -> None:
    turnstile = Turnstile(1)
    waiting = turnstile.wait("a")

    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_a_cancelled_caller_does_not_take_a_turn() -> None:
    turnstile = Turnstile(1)
    await turnstile.wait("first")
    _, cancelled, other = (asyncio.create_task(turnstile.wait(name)) for name in "abc")
    await asyncio.sleep(0)

    cancelled.cancel()
    await asyncio.wait_for(other, 5)

    assert cancelled.cancelled()


async def test_nothing_stays_scheduled_when_nobody_waits() -> None:
    turnstile = Turnstile(1)
    await turnstile.wait("first")
    for _ in range(5):
        await asyncio.sleep(0)

    assert turnstile._is_due is False


async def test_a_released_caller_passes_at_once_and_takes_no_turn() -> None:
    turnstile = Turnstile(1)
    await turnstile.wait("first")
    tasks = {name: asyncio.create_task(turnstile.wait(name)) for name in "abcd"}
    await asyncio.sleep(0)

    turnstile.release("d")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert tasks["d"].done()
    assert not tasks["c"].done()
    await asyncio.wait_for(asyncio.gather(*tasks.values()), 5)


async def test_no_caller_waits_after_it_has_passed() -> None:
    turnstile = Turnstile(1)
    tasks = [asyncio.create_task(turnstile.wait(name)) for name in "abc"]
    await asyncio.wait_for(asyncio.gather(*tasks), 5)

    assert not turnstile._waiting
