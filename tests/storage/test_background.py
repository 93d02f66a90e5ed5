"""A response in the background ends once, whatever becomes of its worker, and nobody misses an event of it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from storage.background import Background, EndedError, Event, Progress
from storage.base import ConflictError, size_of
from storage.conversations import Conversations
from storage.database import Database, StoreError
from storage.encryption import Encryption
from storage.lease_renewal import LEASE_S
from storage.responses import NoConversationError, Responses, StoredResponse
from storage.tables import response_events, responses
from tests.storage.kept import ME, YOU, Clock, assistant, count, response, user

pytestmark = pytest.mark.anyio


def begun(name: str = "a", **fields: Any) -> StoredResponse:
    return response(name, **{"output": (), "status": "queued", "body": b'{"status":"queued"}', **fields})


def event(number: int) -> Event:
    return number, f'{{"sequence_number":{number}}}'.encode()


def stopped(body: bytes, number: int) -> tuple[bytes, list[Event]]:
    failed = json.dumps({**json.loads(body), "status": "failed"}).encode()
    return failed, [(number, failed)]


def size(database: Database) -> tuple[int, int]:
    """What the response says that it takes, and what it takes."""
    row = database.read(lambda connection: connection.execute(select(responses)).one())
    events = database.read(lambda connection: connection.execute(select(response_events.c.event)).scalars().all())
    return row.size, size_of(row.body, row.own_items, row.earlier, *events)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 — what is waited for is another's row
        await asyncio.sleep(0.002)


@pytest.fixture(params=[(), (Encryption.new_key(),)], ids=["readable", "encrypted"])
def encryption(request: pytest.FixtureRequest) -> Encryption:
    return Encryption(request.param)


@pytest.fixture
def worker(database: Database, encryption: Encryption, clock: Clock) -> Background:
    return Background(database, encryption, clock=clock)


@pytest.fixture
def others(other: Database, encryption: Encryption, clock: Clock) -> Background:
    return Background(other, encryption, clock=clock)


async def test_a_response_is_followed_at_another_proxy_from_beginning_to_end(
    worker: Background, others: Background, other: Database, encryption: Encryption, database: Database
) -> None:
    await worker.begin(begun())
    assert await others.events_after("resp_a", ME) == Progress(
        "queued", b'{"status":"queued"}', (), has_more=False, ended=False, abandoned=False, cancel_requested=False
    )
    await worker.set_status("resp_a", "in_progress", b'{"status":"in_progress"}')
    assert not await worker.append_events("resp_a", [event(0), event(1)])
    midway = await others.events_after("resp_a", ME, 0)
    assert midway and (midway.status, midway.events, midway.ended) == ("in_progress", (event(1),), False)
    assert len(set(size(database))) == 1
    await worker.finish("resp_a", "completed", b'{"status":"completed"}', output=(assistant("a!"),), events=[event(2)])

    assert await others.events_after("resp_a", ME, 1) == Progress(
        "completed", b'{"status":"completed"}', (event(2),), False, ended=True, abandoned=False, cancel_requested=False
    )
    kept = Responses(other, encryption)
    found = await kept.get("resp_a", ME)
    assert found and (found.status, found.background) == ("completed", True)
    assert await kept.conversation_items("resp_a", ME) == (user("a?"), assistant("a!"))
    page = await kept.input_items("resp_a", ME)
    assert page and len(page.data) == 1
    assert len(set(size(database))) == 1


async def test_events_come_in_pieces(worker: Background) -> None:
    await worker.begin(begun())
    await worker.append_events("resp_a", [event(n) for n in range(5)])

    first = await worker.events_after("resp_a", ME, limit=3)
    assert first and (first.events, first.has_more) == (tuple(map(event, range(3))), True)
    rest = await worker.events_after("resp_a", ME, 2, limit=3)
    assert rest and (rest.events, rest.has_more) == (tuple(map(event, (3, 4))), False)


async def test_events_that_are_added_again_are_there_once(worker: Background) -> None:
    await worker.begin(begun())
    await worker.append_events("resp_a", [event(0)])
    await worker.append_events("resp_a", [event(0), event(1)])
    await worker.append_events("resp_a", [])

    found = await worker.events_after("resp_a", ME)
    assert found and found.events == (event(0), event(1))


async def test_background_responses_of_other_owners_are_not_found(worker: Background) -> None:
    await worker.begin(begun())

    assert await worker.events_after("resp_a", YOU) is None
    assert await worker.request_cancel("resp_a", YOU) is None
    assert await worker.to_cancel() == frozenset()


@pytest.mark.parametrize("id", ["", "\0", "resp_unknown", "resp_foreground"])
async def test_a_foreground_response_is_not_a_background_response(
    worker: Background, database: Database, encryption: Encryption, id: str
) -> None:
    await Responses(database, encryption).put(response("foreground"))

    assert await worker.events_after(id, ME) is None
    assert await worker.request_cancel(id, ME) is None
    if id.startswith("resp"):
        with pytest.raises(EndedError):
            await worker.append_events(id, [event(0)])


async def test_a_response_begins_before_it_ends(worker: Background) -> None:
    with pytest.raises(ValueError, match="must be queued or in_progress"):
        await worker.begin(begun(status="completed"))
    with pytest.raises(ValueError, match="must be queued or in_progress"):
        await worker.begin(begun(output=(assistant("a"),)))
    await worker.begin(begun())
    with pytest.raises(ConflictError):
        await worker.begin(begun())
    with pytest.raises(ValueError, match="is a final status"):
        await worker.set_status("resp_a", "failed", b"{}")
    with pytest.raises(ValueError, match="is not a final status"):
        await worker.finish("resp_a", "in_progress", b"{}")


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
async def test_a_response_ends_once(worker: Background, status: str) -> None:
    await worker.begin(begun())
    await worker.finish("resp_a", status, b"{}", events=[event(0)])
    with pytest.raises(EndedError):
        await worker.finish("resp_a", "completed", b"[]", events=[event(1)])
    with pytest.raises(EndedError):
        await worker.append_events("resp_a", [event(1)])
    with pytest.raises(EndedError):
        await worker.set_status("resp_a", "in_progress", b"[]")

    found = await worker.events_after("resp_a", ME)
    assert found and (found.status, found.body, found.events) == (status, b"{}", (event(0),))


async def test_another_proxy_writes_nothing_to_a_response_that_is_not_its_own(
    worker: Background, others: Background
) -> None:
    await worker.begin(begun())
    with pytest.raises(EndedError):
        await others.append_events("resp_a", [event(0)])
    with pytest.raises(EndedError):
        await others.finish("resp_a", "completed", b"{}")

    found = await worker.events_after("resp_a", ME)
    assert found and (found.status, found.events) == ("queued", ())


# Cancelling and deleting.


async def test_a_response_is_cancelled_at_another_proxy(worker: Background, others: Background) -> None:
    await worker.begin(begun())
    await worker.begin(begun("b"))
    assert await others.request_cancel("resp_a", ME) is True
    assert await others.request_cancel("resp_a", ME) is True

    assert await worker.to_cancel() == {"resp_a"}
    assert await worker.append_events("resp_a", [event(0)])
    assert not await worker.append_events("resp_b", [event(0)])
    found = await others.events_after("resp_a", ME)
    assert found and found.cancel_requested
    await worker.finish("resp_a", "cancelled", b"{}")
    assert await worker.to_cancel() == frozenset()
    assert await others.request_cancel("resp_a", ME) is False


async def test_the_worker_of_a_deleted_response_is_told_and_leaves_nothing(
    worker: Background, other: Database, database: Database
) -> None:
    await worker.begin(begun())
    await worker.append_events("resp_a", [event(0)])
    await Responses(other).delete("resp_a", ME)

    assert await worker.to_cancel() == {"resp_a"}
    with pytest.raises(EndedError):
        await worker.append_events("resp_a", [event(1)])
    assert await worker.to_cancel() == frozenset()
    assert (count(database, responses), count(database, response_events)) == (0, 0)


# Workers that die.


async def test_a_response_whose_worker_died_is_ended_by_another_proxy(
    worker: Background, others: Background, clock: Clock, database: Database
) -> None:
    await worker.begin(begun())
    await worker.append_events("resp_a", [event(0), event(1)])
    clock.now += LEASE_S - 1
    assert await others.fail_abandoned(stopped) == []
    clock.now += 1
    abandoned = await others.events_after("resp_a", ME)
    assert abandoned and (abandoned.abandoned, abandoned.ended) == (True, False)
    assert await others.fail_abandoned(stopped) == ["resp_a"]

    found = await others.events_after("resp_a", ME, 1)
    failed = b'{"status": "failed"}'
    assert found == Progress("failed", failed, ((2, failed),), False, True, False, False)
    assert await others.fail_abandoned(stopped) == []
    assert len(set(size(database))) == 1


async def test_a_worker_gives_up_as_others_would_for_it(worker: Background, others: Background) -> None:
    await worker.begin(begun())
    await worker.append_events("resp_a", [event(0)])
    with pytest.raises(EndedError):
        await others.give_up("resp_a", stopped)
    await worker.give_up("resp_a", stopped)

    found = await others.events_after("resp_a", ME, 0)
    failed = b'{"status": "failed"}'
    assert found == Progress("failed", failed, ((1, failed),), False, True, False, False)
    assert await worker.to_cancel() == frozenset()


async def test_a_worker_that_comes_back_too_late_is_told(worker: Background, others: Background, clock: Clock) -> None:
    await worker.begin(begun())
    clock.now += LEASE_S
    await others.fail_abandoned(stopped)
    await worker.running.renew()
    with pytest.raises(EndedError):
        await worker.finish("resp_a", "completed", b"{}", output=(assistant("a!"),), events=[event(9)])

    found = await worker.events_after("resp_a", ME)
    assert found and (found.status, [number for number, _ in found.events]) == ("failed", [0])


async def test_a_worker_that_slept_and_was_not_given_up_goes_on(worker: Background, clock: Clock) -> None:
    await worker.begin(begun())
    clock.now += 2 * LEASE_S
    await worker.running.renew()

    assert await worker.fail_abandoned(stopped) == []
    await worker.finish("resp_a", "completed", b"{}")


async def test_a_worker_keeps_its_response_when_the_clock_jumps(worker: Background, clock: Clock) -> None:
    await worker.begin(begun())
    clock.now += 2 * LEASE_S

    found = await worker.events_after("resp_a", ME)
    assert found and not found.abandoned
    assert await worker.fail_abandoned(stopped) == []
    await worker.finish("resp_a", "completed", b"{}")


async def test_a_worker_that_renews_its_lease_keeps_its_response(
    worker: Background, others: Background, clock: Clock
) -> None:
    await worker.running.renew()
    await worker.begin(begun())
    for _ in range(3):
        clock.now += LEASE_S - 1
        await worker.running.renew()

    assert await others.fail_abandoned(stopped) == []


async def test_a_worker_renews_by_itself(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Background(database, clock=clock, lease_s=0.03) as worker:
        renew, fails = worker.running.renew, iter([True])

        async def fail_once() -> None:
            if next(fails, False):
                raise StoreError("not now")
            await renew()

        monkeypatch.setattr(worker.running, "renew", fail_once)
        await worker.begin(begun())
        clock.now += 100
        query = select(responses.c.lease_until)
        await until(lambda: database.read(lambda c: c.execute(query).scalar_one()) == clock.now + 0.03)

    assert "not now" in caplog.text


async def test_a_response_whose_end_cannot_be_written_is_given_up_in_time(
    worker: Background, others: Background, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(work: object) -> None:
        raise StoreError("not now")

    await worker.begin(begun())
    with monkeypatch.context() as patch:
        patch.setattr(database, "awrite", fail)
        with pytest.raises(StoreError):
            await worker.finish("resp_a", "completed", b"{}")
    clock.now += LEASE_S - 1
    await worker.running.renew()
    clock.now += 1

    assert await others.fail_abandoned(stopped) == ["resp_a"]


async def test_only_one_of_two_proxies_ends_an_abandoned_response(
    worker: Background, others: Background, database: Database, encryption: Encryption, clock: Clock
) -> None:
    names = [f"resp_{n}" for n in range(20)]
    for n in range(20):
        await worker.begin(begun(str(n)))
    clock.now += LEASE_S
    third = Background(database, encryption, clock=clock)

    given_up = await asyncio.gather(*(who.fail_abandoned(stopped, limit=7) for who in (others, third) * 4))

    assert sorted(name for some in given_up for name in some) == sorted(names)
    assert count(database, response_events) == 20


async def test_either_the_worker_ends_a_response_or_another_proxy_fails_it(
    worker: Background, others: Background, clock: Clock
) -> None:
    for n in range(20):
        await worker.begin(begun(str(n)))
        clock.now += LEASE_S
        finishing = worker.finish(f"resp_{n}", "completed", b"{}", events=[event(0)])
        finished, given_up = await asyncio.gather(finishing, others.fail_abandoned(stopped), return_exceptions=True)

        found = await others.events_after(f"resp_{n}", ME)
        assert found and len(found.events) == 1
        assert given_up == ([f"resp_{n}"] if isinstance(finished, EndedError) else [])
        assert found.status == ("failed" if given_up else "completed")


# Conversations and chains.


async def test_a_response_enters_its_conversation_when_it_ends(
    worker: Background, database: Database, encryption: Encryption
) -> None:
    held = Conversations(database, encryption)
    conversation = await held.create(ME, items=(assistant("hello"),))
    await worker.begin(begun(before=(assistant("hello"),), conversation_id=conversation.id))
    assert await held.items(conversation.id, ME) == (assistant("hello"),)
    await worker.finish("resp_a", "completed", b"{}", output=(assistant("a!"),))

    items = await held.items(conversation.id, ME)
    assert items and [item["content"][0]["text"] for item in items] == ["hello", "a?", "a!"]
    found = await Responses(database, encryption).conversation_items("resp_a", ME)
    assert found and [item["content"][0]["text"] for item in found] == ["hello", "a?", "a!"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_response_that_came_to_nothing_leaves_its_conversation_as_it_was(
    worker: Background, database: Database, encryption: Encryption, status: str
) -> None:
    held = Conversations(database, encryption)
    conversation = await held.create(ME, items=(assistant("hello"),))
    await worker.begin(begun(before=(assistant("hello"),), conversation_id=conversation.id))
    await worker.finish("resp_a", status, b"{}", output=(assistant("a…"),))

    assert await held.items(conversation.id, ME) == (assistant("hello"),)
    found = await Responses(database, encryption).conversation_items("resp_a", ME)
    assert found == (assistant("hello"), user("a?"), assistant("a…"))


async def test_a_response_ends_though_its_conversation_was_deleted(
    worker: Background, database: Database, encryption: Encryption
) -> None:
    held = Conversations(database, encryption)
    conversation = await held.create(ME)
    await worker.begin(begun(conversation_id=conversation.id))
    await held.delete(conversation.id, ME)
    await worker.finish("resp_a", "completed", b"{}", output=(assistant("a!"),))

    assert await Responses(database, encryption).conversation_items("resp_a", ME) == (user("a?"), assistant("a!"))
    with pytest.raises(NoConversationError):
        await worker.begin(begun("b", conversation_id=conversation.id))


async def test_a_response_goes_on_from_another_in_the_background(
    worker: Background, database: Database, encryption: Encryption
) -> None:
    kept = Responses(database, encryption)
    await kept.put(response("a"))
    before = response("a").conversation
    await worker.begin(begun("b", before=before, previous_id="resp_a"))
    early = response("c", (*before, user("b?")), previous_id="resp_b")
    await kept.put(early)
    await kept.delete("resp_a", ME)
    await worker.finish("resp_b", "completed", b"{}", output=(assistant("b!"),))
    late = response("d", (*before, user("b?"), assistant("b!")), previous_id="resp_b")
    await kept.put(late)

    # What went on from it before it ended does not learn how it ended.
    assert await kept.conversation_items("resp_c", ME) == early.conversation
    assert await kept.conversation_items("resp_d", ME) == late.conversation
    query = select(responses.c.previous_id).where(responses.c.id == "resp_d")
    assert database.read(lambda connection: connection.execute(query).scalar()) == "resp_b"
