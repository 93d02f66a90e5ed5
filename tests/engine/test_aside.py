"""The long work of a large request runs in a thread, and that of a small one at once."""

import asyncio
import contextvars
import threading

import pytest

from engine.aside import aside
from translate.long_work import LARGE

pytestmark = pytest.mark.anyio

WHOSE = contextvars.ContextVar("WHOSE", default="")


async def test_small_work_is_done_at_once() -> None:
    call = aside(LARGE - 1, threading.get_ident)

    with pytest.raises(StopIteration) as ended:
        call.send(None)

    assert ended.value.value == threading.get_ident()


async def test_the_loop_goes_on_while_large_work_is_done() -> None:
    ticks, enough = 0, threading.Event()

    async def tick() -> None:
        nonlocal ticks
        while not enough.is_set():
            ticks += 1
            if ticks == 100:
                enough.set()
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    # The work ends only when the loop has gone on a hundred times.
    assert await aside(LARGE, enough.wait, 60)
    await ticking
    assert ticks == 100


async def test_large_work_sees_the_caller_s_context_and_raises_to_it() -> None:
    WHOSE.set("mine")
    assert await aside(LARGE, WHOSE.get) == "mine"

    with pytest.raises(ValueError, match="invalid literal"):
        await aside(LARGE, int, "x")


async def test_large_work_is_done_in_the_order_in_which_it_came() -> None:
    done: list[int] = []

    await asyncio.gather(*(aside(LARGE, done.append, number) for number in range(20)))

    assert done == list(range(20))


async def test_work_whose_caller_is_cancelled_does_not_hold_up_what_follows() -> None:
    free = threading.Event()
    cancelled = asyncio.create_task(aside(LARGE, free.wait, 60))
    await asyncio.sleep(0)

    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    free.set()

    assert cancelled.cancelled()
    assert await aside(LARGE, lambda: "next") == "next"
