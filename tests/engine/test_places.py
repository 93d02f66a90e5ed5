"""Places are given in turn, none is lost, and nobody waits for ever."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ClaudeError
from engine.places import Line, Places

GUARD_S = 30


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_between_two_of_one_clients_turns_every_other_client_that_waits_has_one(clients: list[str]) -> None:
    line: Line[tuple[str, int]] = Line()
    for number, client in enumerate(clients):
        line.add(client, (client, number))
    left = Counter(clients)
    served: list[tuple[str, int]] = []
    while (item := line.take()) is not None:
        since = served[max((n for n, (client, _) in enumerate(served) if client == item[0]), default=-1) + 1 :]
        if any(client == item[0] for client, _ in served):
            assert {client for client, count in left.items() if count} - {item[0]} <= {client for client, _ in since}
        served.append(item)
        left[item[0]] -= 1

    assert sorted(served) == sorted((client, number) for number, client in enumerate(clients))
    for client in set(clients):
        assert [n for c, n in served if c == client] == [n for n, c in enumerate(clients) if c == client]


@pytest.mark.anyio
async def test_no_more_than_the_limit_have_a_place_at_once() -> None:
    places = Places(3, max_waiting=100, wait_s=GUARD_S)
    most = 0

    async def use(client: str) -> None:
        nonlocal most
        async with places.place(client):
            most = max(most, places.taken)
            await asyncio.sleep(0)

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as group:
        for n in range(50):
            group.create_task(use(str(n % 4)))

    assert (most, places.taken, places.waiting) == (3, 0, 0)


@pytest.mark.anyio
async def test_whoever_leaves_the_line_takes_no_place_with_him() -> None:
    places = Places(1, max_waiting=100, wait_s=GUARD_S)
    entered: list[str] = []

    async def use(client: str) -> None:
        async with places.place(client):
            entered.append(client)

    async with asyncio.timeout(GUARD_S):
        async with places.place("first"):
            waiting = [asyncio.create_task(use(name)) for name in ("a", "b", "c")]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        # In this moment b has been given the place and does not know it yet.
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert entered == ["c"]
    assert (places.taken, places.waiting) == (0, 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("max_waiting", "wait_s", "kind"), [(0, GUARD_S, "queue_full"), (1, 0.0, "busy")], ids=["a full line", "too long"]
)
async def test_whoever_gets_no_place_is_told_when_to_come_again(max_waiting: int, wait_s: float, kind: str) -> None:
    places = Places(1, max_waiting=max_waiting, wait_s=wait_s)

    async with asyncio.timeout(GUARD_S), places.place("a"):
        with pytest.raises(ClaudeError) as caught:
            async with places.place("b"):
                pass

    assert (caught.value.kind, caught.value.retry_after_s) == (kind, 1)
    assert (places.taken, places.waiting) == (0, 0)


@pytest.mark.anyio
async def test_more_places_are_given_to_those_who_wait() -> None:
    places = Places(1, max_waiting=9, wait_s=GUARD_S)
    entered = asyncio.Event()

    async def use() -> None:
        async with places.place("b"):
            entered.set()

    async with asyncio.timeout(GUARD_S), places.place("a"):
        waiting = asyncio.create_task(use())
        await asyncio.sleep(0)
        places.limit = 2
        await entered.wait()
        both = (places.taken, places.waiting)
        await waiting

    assert places.limit == 2
    assert both[1] == 0
