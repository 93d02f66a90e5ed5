"""A batch goes through its states once, and each of its lines has one result, however many proxies work on it."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from storage import batches as module
from storage.batches import MAX_ATTEMPTS, WINDOW_S, Batch, Batches, LostError, TooManyError
from storage.database import Database
from storage.encryption import Encryption
from storage.files import Files, Quota, QuotaError
from storage.lease_renewal import LEASE_S
from storage.pagination import UnknownCursorError
from storage.retention import Limits, Retention
from storage.tables import batch_lines, batches
from tests.storage.kept import ME, YOU, Clock, count

pytestmark = pytest.mark.anyio

KEY = Encryption.new_key()


@pytest.fixture
def kept(database: Database, clock: Clock) -> Batches:
    return Batches(database, Encryption([KEY]), clock=clock, worker="one")


@pytest.fixture
def elsewhere(other: Database, clock: Clock) -> Batches:
    return Batches(other, Encryption([KEY]), clock=clock, worker="two")


async def create(kept: Batches, owner: str = ME, **more: Any) -> Batch:
    fields = {
        "endpoint": "/v1/responses",
        "input_file_id": "file-1",
        "size": 10,
        "client_id": None,
        "client": "a/b",
        **more,
    }
    return await kept.create(owner, **fields)


async def begun(kept: Batches, lines: int = 2, owner: str = ME) -> Batch:
    """A batch whose lines can be claimed."""
    await create(kept, owner)
    batch = await kept.claim()
    assert batch is not None
    await kept.add_lines(batch, 0, [{"custom_id": str(n), "body": {}} for n in range(lines)])
    await kept.begin(batch, lines, "gpt-5")
    return batch


async def ended(kept: Batches, status: str) -> Batch:
    """The batch that is to be ended, after it has ended so."""
    batch = await kept.claim()
    assert batch is not None
    await kept.finalize(batch)
    await kept.end(batch, status, output=None, errors=None, failed=0, usage=None)
    found = await kept.get(batch.id, batch.owner)
    assert found is not None
    return found


async def test_a_batch_goes_through_its_states(kept: Batches, database: Database, clock: Clock) -> None:
    made = await create(kept, metadata={"a": "é"}, client_id="key", output_expires_s=5.0)
    assert (made.status, made.total, made.expires_at) == ("validating", 0, clock.now + WINDOW_S)
    assert kept.changed.is_set()

    batch = await kept.claim()
    assert batch == made
    await kept.add_lines(batch, 0, [{"custom_id": "0", "body": {"x": 1}}])
    await kept.add_lines(batch, 1, [{"custom_id": "1", "body": {}}])
    clock.now += 1
    await kept.begin(batch, 2, "gpt-5")

    line, other = await kept.claim_line(), await kept.claim_line()
    assert line is not None and other is not None
    assert (line.number, line.attempts, line.request) == (0, 1, {"custom_id": "0", "body": {"x": 1}})
    assert (line.batch.client_id, line.batch.client, line.batch.status) == ("key", "a/b", "in_progress")
    assert await kept.claim_line() is None
    assert await kept.claim() is None
    assert await kept.finish_line(line, {"r": 0}, ok=True)
    assert await kept.claim() is None
    assert await kept.finish_line(other, {"r": 1}, ok=False)

    files = Files(database, Encryption([KEY]), clock=clock)
    output = await files.begin(ME, "o", 0, purpose="batch_output")
    await files.write(output.id, 0, [b"abc"])
    batch = await kept.claim()
    assert batch is not None
    clock.now += 1
    assert (await kept.finalize(batch)).status == "finalizing"
    found = [*await kept.results(batch, -1, 1), *await kept.results(batch, 0, 5)]
    assert [(number, status, result) for number, status, _, result in found] == [
        *((0, "completed", {"r": 0}), (1, "failed", {"r": 1})),
    ]
    assert await files.get(output.id, ME) is None
    await kept.end(batch, "completed", output=(output.id, 3), errors=None, failed=1, usage={"total_tokens": 5})

    done = await kept.get(batch.id, ME)
    assert done is not None
    assert (done.status, done.total, done.completed, done.failed) == ("completed", 2, 1, 1)
    assert (done.output_file_id, done.error_file_id) == (output.id, None)
    assert (done.model, done.metadata, done.usage) == ("gpt-5", {"a": "é"}, {"total_tokens": 5})
    assert list(done.times) == ["in_progress_at", "finalizing_at", "completed_at"]
    assert done.times["completed_at"] == clock.now
    stored = await files.get(output.id, ME)
    assert stored is not None and stored.size == 3
    assert count(database, batch_lines) == 0
    assert await kept.claim() is None
    assert not await kept.any_open()
    assert not kept.held.batches and not kept.held.lines


async def test_what_is_anothers_is_not_there(kept: Batches) -> None:
    made = await create(kept)

    assert await kept.get(made.id, YOU) is None
    assert await kept.cancel(made.id, YOU) is None
    assert (await kept.list(YOU)).data == ()
    with pytest.raises(UnknownCursorError):
        await kept.list(YOU, after=made.id)
    for id in ("", "\0", "batch_unknown"):
        assert await kept.get(id, ME) is None
        assert await kept.cancel(id, ME) is None


async def test_batches_are_listed_newest_first(kept: Batches, clock: Clock) -> None:
    ids: list[str] = []
    for _ in range(3):
        ids.insert(0, (await create(kept)).id)
        clock.now += 1

    page = await kept.list(ME, limit=2)
    assert ([one.id for one in page.data], page.has_more) == (ids[:2], True)
    page = await kept.list(ME, after=ids[1])
    assert ([one.id for one in page.data], page.has_more) == (ids[2:], False)


async def test_a_batch_that_is_not_valid_fails(kept: Batches, database: Database) -> None:
    made = await create(kept)
    batch = await kept.claim()
    assert batch is not None
    await kept.add_lines(batch, 0, [{"custom_id": "0", "body": {}}])
    await kept.fail(batch, [{"code": "x"}])

    found = await kept.get(made.id, ME)
    assert found is not None
    assert (found.status, found.errors) == ("failed", [{"code": "x"}])
    assert count(database, batch_lines) == 0
    assert await kept.claim() is None and await kept.claim_line() is None


async def test_a_batch_is_validated_anew_after_its_proxy_died(
    kept: Batches, elsewhere: Batches, clock: Clock, database: Database
) -> None:
    await create(kept)
    batch = await kept.claim()
    assert batch is not None
    await kept.add_lines(batch, 0, [{"custom_id": str(n), "body": {}} for n in range(3)])
    assert await elsewhere.claim() is None
    clock.now += LEASE_S - 1
    await kept.renew()
    clock.now += LEASE_S - 1
    assert await elsewhere.claim() is None
    clock.now += 1

    again = await elsewhere.claim()
    assert again is not None
    with pytest.raises(LostError):
        await kept.add_lines(batch, 3, [{"custom_id": "3", "body": {}}])
    with pytest.raises(LostError):
        await kept.begin(batch, 3, None)
    await elsewhere.add_lines(again, 0, [{"custom_id": "0", "body": {}}])
    await elsewhere.begin(again, 1, None)
    assert count(database, batch_lines) == 1


async def test_a_batch_that_is_left_is_taken_at_once(kept: Batches, elsewhere: Batches) -> None:
    await create(kept)
    batch = await kept.claim()
    assert batch is not None
    await kept.leave(batch)

    assert await elsewhere.claim() is not None


async def test_a_batch_that_is_left_for_a_while_comes_after_new_ones(
    kept: Batches, elsewhere: Batches, clock: Clock
) -> None:
    await create(kept)
    batch = await kept.claim()
    assert batch is not None
    await kept.leave(batch, after_s=10)
    assert await kept.claim() is None and await elsewhere.claim() is None
    clock.now += 10
    newer = await create(kept)

    claimed = [await kept.claim(), await elsewhere.claim()]
    assert [one.id if one else None for one in claimed] == [newer.id, batch.id]


async def test_a_batch_that_cannot_be_read_does_not_keep_others_waiting(
    kept: Batches, database: Database, clock: Clock
) -> None:
    foreign = Batches(database, Encryption([Encryption.new_key()]), clock=clock, worker="foreign")
    running = await begun(foreign)
    sealed = await create(foreign)
    clock.now += 1
    good = await begun(kept, 2)
    validated = await create(kept)

    lines = [await kept.claim_line() for _ in range(3)]
    assert [line and (line.batch.id, line.number) for line in lines] == [(good.id, 0), (good.id, 1), None]
    batch = await kept.claim()
    assert batch is not None and batch.id == validated.id
    assert await kept.claim() is None

    clock.now += module.UNREADABLE_S
    line, batch = await foreign.claim_line(), await foreign.claim()
    assert line is not None and (line.batch.id, line.attempts) == (running.id, 1)
    assert batch is not None and batch.id == sealed.id


async def test_a_line_is_answered_by_another_proxy_after_the_lease(
    kept: Batches, elsewhere: Batches, clock: Clock
) -> None:
    await begun(kept, 1)
    line = await kept.claim_line()
    assert line is not None
    clock.now += LEASE_S - 1
    await kept.renew()
    clock.now += LEASE_S - 1
    assert await elsewhere.claim_line() is None
    clock.now += 1

    again = await elsewhere.claim_line()
    assert again is not None and again.attempts == 2
    assert not await kept.finish_line(line, {"r": "late"}, ok=True)
    await kept.release_line(line)
    assert await elsewhere.finish_line(again, {"r": "good"}, ok=True)
    found = await kept.get(line.batch.id, ME)
    assert found is not None and found.completed == 1


async def test_a_proxy_that_was_too_slow_to_renew_does_not_claim_its_own_work(
    kept: Batches, elsewhere: Batches, clock: Clock
) -> None:
    await begun(kept, 1)
    line = await kept.claim_line()
    assert line is not None
    clock.now += WINDOW_S + LEASE_S
    assert await kept.claim_line() is None
    assert await kept.claim() is None
    assert await kept.finish_line(line, {}, ok=True)

    batch = await kept.claim()
    assert batch is not None
    clock.now += LEASE_S
    assert await kept.claim() is None
    assert await elsewhere.claim() is not None


async def test_no_line_is_answered_twice_by_proxies_that_claim_at_once(kept: Batches, elsewhere: Batches) -> None:
    await begun(kept, 40)
    claimed: Counter[int] = Counter()

    async def work(store: Batches) -> None:
        misses = 0
        while misses < 20:
            line = await store.claim_line()
            if line is None:
                # Another proxy has the row of the batch locked, or nothing is left.
                misses += 1
                await asyncio.sleep(0.01)
                continue
            claimed[line.number] += 1
            assert await store.finish_line(line, {"r": line.number}, ok=True)

    await asyncio.gather(*(work(store) for store in (kept, elsewhere) for _ in range(3)))

    assert claimed == Counter(range(40))
    batch = await elsewhere.claim()
    assert batch is not None and batch.completed == 40
    assert [result for *_, result in await kept.results(batch, -1, 100)] == [{"r": n} for n in range(40)]


async def test_a_line_that_is_put_back_waits_with_its_batch(kept: Batches, clock: Clock) -> None:
    await begun(kept, 2)
    line = await kept.claim_line()
    assert line is not None
    await kept.release_line(line, after_s=10)
    assert await kept.claim_line() is None
    clock.now += 10

    again = await kept.claim_line()
    assert again is not None and (again.number, again.attempts) == (0, 1)
    await kept.release_line(again, counts=True)
    third = await kept.claim_line()
    assert third is not None and (third.number, third.attempts) == (0, 2)
    assert third.attempts <= MAX_ATTEMPTS


async def test_batches_are_served_in_turns(kept: Batches, clock: Clock) -> None:
    one, two = await begun(kept, 3), await begun(kept, 2, YOU)
    served = []
    for _ in range(5):
        clock.now += 1
        line = await kept.claim_line()
        assert line is not None
        served.append(line.batch.id)

    assert Counter(served[:4]) == {one.id: 2, two.id: 2}
    assert served[0] != served[1]


async def test_a_cancelled_batch_begins_no_more_lines_and_ends_after_those_that_run(
    kept: Batches, clock: Clock
) -> None:
    made = await begun(kept, 2)
    line = await kept.claim_line()
    assert line is not None
    kept.changed.clear()
    cancelled = await kept.cancel(made.id, ME)
    assert cancelled is not None and cancelled.status == "cancelling"
    assert kept.changed.is_set()
    assert await kept.claim_line() is None
    assert await kept.claim() is None
    assert await kept.finish_line(line, {}, ok=True)

    done = await ended(kept, "cancelled")
    assert (done.status, list(done.times)) == (
        "cancelled",
        ["in_progress_at", "cancelling_at", "cancelled_at"],
    )
    again = await kept.cancel(made.id, ME)
    assert again == done


async def test_a_batch_is_cancelled_while_it_is_validated(kept: Batches) -> None:
    made = await create(kept)
    batch = await kept.claim()
    assert batch is not None
    await kept.cancel(made.id, ME)
    await kept.add_lines(batch, 0, [{"custom_id": "0", "body": {}}])
    await kept.begin(batch, 1, None)

    assert await kept.claim_line() is None
    assert (await ended(kept, "cancelled")).status == "cancelled"


async def test_a_batch_expires(kept: Batches, clock: Clock) -> None:
    await begun(kept, 2)
    line = await kept.claim_line()
    assert line is not None
    clock.now += WINDOW_S - 1
    await kept.renew()
    clock.now += 1
    assert await kept.claim_line() is None
    assert await kept.claim() is None
    assert await kept.finish_line(line, {}, ok=True)

    batch = await kept.claim()
    assert batch is not None
    assert (await kept.finalize(batch)).status == "in_progress"
    assert [status for _, status, *_ in await kept.results(batch, -1, 5)] == ["completed", "waiting"]


async def test_batches_under_way_count_towards_the_quota(database: Database, clock: Clock) -> None:
    files = Files(database, None, Quota(owner_bytes=25, total_bytes=40), clock=clock)
    kept = Batches(database, None, clock=clock, stored=files)
    await create(kept)
    await files.put(ME, "a", b"x" * 10, purpose="batch")

    with pytest.raises(QuotaError, match="would have 30 bytes, and 25 are allowed"):
        await create(kept)
    with pytest.raises(QuotaError):
        await files.put(ME, "b", b"x" * 10, purpose="batch")
    await create(kept, YOU)
    with pytest.raises(QuotaError, match="all keys"):
        await create(kept, YOU, size=11)
    batch = await kept.claim()
    assert batch is not None and batch.owner == ME
    await kept.fail(batch, [])
    await create(kept)


async def test_results_are_read_in_pages_of_some_bytes(kept: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await begun(kept, 4)
    results: list[dict[str, Any]] = [{"r": text} for text in ("x" * 3000, "y" * 10, "z" * 10)]
    for result in results:
        line = await kept.claim_line()
        assert line is not None
        assert await kept.finish_line(line, result, ok=True)
    monkeypatch.setattr(module, "RESULT_BYTES", 2000)

    pages, after = [], -1
    while found := await kept.results(batch, after, 100):
        assert len(found) == 1 or sum(size for _, _, size, _ in found) <= module.RESULT_BYTES
        after = found[-1][0]
        pages.append([(status, item) for _, status, _, item in found])
    assert pages == [
        [("completed", results[0])],
        [("completed", results[1]), ("completed", results[2]), ("waiting", {"custom_id": "3", "body": {}})],
    ]


async def test_an_owner_has_so_many_batches_under_way(kept: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACTIVE", 1)
    await begun(kept, 0)

    with pytest.raises(TooManyError, match="1 batches"):
        await create(kept)
    await ended(kept, "completed")
    await create(kept)
    await create(kept, YOU)


async def test_ended_batches_are_swept(kept: Batches, database: Database, clock: Clock) -> None:
    await begun(kept, 0)
    done = await ended(kept, "completed")
    other = await create(kept)
    keeping = Retention(database, Limits(responses_s=10))

    assert (await keeping.sweep(clock.now + 9)).batches == 0
    assert (await keeping.sweep(clock.now + 10)).batches == 1
    assert await kept.get(done.id, ME) is None
    assert await kept.get(other.id, ME) is not None


async def test_nothing_of_a_batch_can_be_read_in_an_encrypted_database(kept: Batches, database: Database) -> None:
    await begun(kept, 1)
    line = await kept.claim_line()
    assert line is not None
    await kept.finish_line(line, {"secret": 1}, ok=True)

    row = database.read(lambda connection: connection.execute(select(batch_lines)).one())
    about = database.read(lambda connection: connection.execute(select(batches.c.about)).scalar_one())
    assert all(one.startswith("fernet:") for one in (row.request, row.result, about))
