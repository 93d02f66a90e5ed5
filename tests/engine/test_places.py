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
    while (taken := line.take()) is not None:
        item = taken[1]
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
async def test_a_waiter_that_leaves_the_queue_takes_no_place() -> None:
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
async def test_a_refused_waiter_gets_retry_after(max_waiting: int, wait_s: float, kind: str) -> None:
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


class Crowd:
    """Clients that want places and hold them until they are told to go."""

    def __init__(self, places: Places, group: asyncio.TaskGroup) -> None:
        self._places = places
        self._group = group
        self.go = asyncio.Event()
        self.having: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def come(self, client: str, count: int = 1) -> None:
        """Have so many requests of a client come, and wait until each has a place, waits, or is refused."""
        for _ in range(count):
            self._group.create_task(self._use(client))
        for _ in range(3):
            await asyncio.sleep(0)

    async def _use(self, client: str) -> None:
        try:
            async with self._places.place(client):
                self.having[client] += 1
                await self.go.wait()
        except ClaudeError as error:
            self.refused[client] += error.kind == "queue_full"


@pytest.mark.anyio
async def test_a_client_that_fills_the_queue_loses_places_to_others() -> None:
    places = Places(8, max_waiting=100, wait_s=GUARD_S)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as group:
        crowd = Crowd(places, group)
        await crowd.come("a", 108)
        alone = crowd.refused.total()
        await crowd.come("b", 60)
        waiting = places.waiting
        crowd.go.set()

    assert alone == 0
    assert waiting == 100
    # Fifty for each; the one who was there first keeps what is odd.
    assert crowd.refused == {"a": 50, "b": 10}
    assert (places.taken, places.waiting) == (0, 0)


@pytest.mark.anyio
async def test_other_names_do_not_make_other_clients() -> None:
    places = Places(1, max_waiting=6, wait_s=GUARD_S)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as group:
        crowd = Crowd(places, group)
        for n in range(20):
            await crowd.come(f"a/app-{n}")
        await crowd.come("b/app", 3)
        crowd.go.set()

    assert sum(count for client, count in crowd.refused.items() if client.startswith("a/")) == 20 - 1 - 6 + 3
    assert crowd.refused["b/app"] == 0


@pytest.mark.anyio
async def test_the_apps_of_one_client_take_turns() -> None:
    line: Line[int] = Line()
    for number, client in enumerate(["k/a", "k/a", "k/a", "k/b", "other"]):
        line.add(client, number)

    assert [line.take() for _ in range(6)] == [("k/a", 0), ("other", 4), ("k/b", 3), ("k/a", 1), ("k/a", 2), None]


@pytest.mark.anyio
async def test_a_place_is_kept_for_whoever_has_none() -> None:
    places = Places(4, max_waiting=100, wait_s=GUARD_S, kept=1)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as group:
        crowd = Crowd(places, group)
        await crowd.come("a", 10)
        alone = crowd.having.copy()
        await crowd.come("b", 2)
        both = crowd.having.copy()
        crowd.go.set()

    assert alone == {"a": 3}
    assert both == {"a": 3, "b": 1}
    assert crowd.having == {"a": 10, "b": 2}


@pytest.mark.anyio
async def test_the_only_place_is_not_kept_from_anybody() -> None:
    places = Places(1, max_waiting=1, wait_s=GUARD_S, kept=5)
    async with asyncio.timeout(GUARD_S), places.place("a"):
        assert places.taken == 1
