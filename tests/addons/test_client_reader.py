"""A client's bytes are read with pauses, in small pieces if that is asked for, and all of them in order."""

import asyncio

import pytest

from addons.client_reader import WEBSOCKET_READ, Reader

pytestmark = pytest.mark.anyio


async def read_all(reader: Reader) -> list[bytes]:
    """Read until the end of the stream."""
    pieces = []
    while data := await reader.read(65535):
        pieces.append(data)
    return pieces


async def test_a_read_that_had_begun_before_returns_little_too() -> None:
    stream, seen = asyncio.StreamReader(), list[int]()

    def note(count: int) -> bool:
        seen.append(count)
        return True

    reader = Reader(stream, note)
    data = bytes(range(256)) * 100
    begun = asyncio.create_task(reader.read(65535))
    await asyncio.sleep(0)

    reader.read_little()
    stream.feed_data(data)
    stream.feed_eof()
    pieces = [await begun, *await read_all(reader)]

    assert b"".join(pieces) == data
    assert {len(piece) for piece in pieces} == {WEBSOCKET_READ, len(data) % WEBSOCKET_READ}
    assert seen == [*map(len, pieces), 0]


async def test_other_tasks_run_between_the_pieces() -> None:
    stream = asyncio.StreamReader()
    reader = Reader(stream, lambda _: True)
    reader.read_little()
    stream.feed_data(b"a" * 10 * WEBSOCKET_READ)
    stream.feed_eof()
    ticks, pieces = 0, 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    while await reader.read(65535):
        pieces += 1
    ticking.cancel()

    assert pieces == 10
    assert ticks >= pieces


async def test_what_is_left_is_discarded_with_the_rest_of_a_refused_request() -> None:
    stream = asyncio.StreamReader()
    reader = Reader(stream, lambda _: True)
    begun = asyncio.create_task(reader.read(65535))
    await asyncio.sleep(0)
    reader.read_little()
    stream.feed_data(b"a" * 10 * WEBSOCKET_READ)
    await begun

    reader.linger()
    stream.feed_eof()

    assert await reader.read(65535) == b""


async def test_a_paused_client_is_not_read() -> None:
    stream = asyncio.StreamReader()
    reader = Reader(stream, lambda _: True)
    reader.pause()
    reader.pause()
    stream.feed_data(b"a")
    reading = asyncio.create_task(reader.read(65535))

    reader.resume()
    await asyncio.sleep(0)
    assert not reading.done()

    reader.resume()
    assert await reading == b"a"


async def test_the_first_read_lets_the_task_that_reads_be_stored() -> None:
    stream = asyncio.StreamReader()
    stream.feed_eof()
    reader = Reader(stream, lambda _: True)

    # As mitmproxy does: the task begins to run before it is stored.
    task = asyncio.eager_task_factory(asyncio.get_running_loop(), reader.read(65535))

    assert not task.done()
    assert await task == b""
