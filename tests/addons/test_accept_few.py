"""Few of the connections that wait are accepted in one round of the event loop, and none is lost."""

import asyncio
import contextlib
import socket
import sys

import pytest

from addons.accept_few import accept_few

EACH_ROUND = 3
# Since Python 3.13.1 asyncio accepts one connection more than the backlog says.
AT_MOST = EACH_ROUND + 1
COUNT = 40


async def accepted_by_round(each_round: int | None) -> list[int]:
    """Let many connections wait, and return how many of them were accepted in each round of the loop."""
    loop = asyncio.get_running_loop()
    if each_round is not None:
        accept_few(loop, each_round)
    accepted = 0

    class Count(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1
            transport.close()

    server = await loop.create_server(Count, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    async with server:
        with contextlib.ExitStack() as stack:
            for _ in range(COUNT):
                stack.enter_context(socket.create_connection(address, 30))
            rounds, before = [], 0
            while accepted < COUNT:
                await asyncio.sleep(0)
                rounds.append(accepted - before)
                before = accepted
    return rounds


@pytest.mark.skipif(sys.platform == "win32", reason="there a round accepts one connection")
def test_few_connections_are_accepted_in_one_round() -> None:
    assert max(asyncio.run(accepted_by_round(None))) > AT_MOST

    rounds = asyncio.run(accepted_by_round(EACH_ROUND))

    assert sum(rounds) == COUNT
    assert max(rounds) <= AT_MOST


def test_a_server_may_accept_even_fewer_in_a_round() -> None:
    async def main() -> list[int]:
        given = []
        loop = asyncio.get_running_loop()
        create = loop.create_server

        async def noting(*args: object, backlog: int, **options: object) -> asyncio.Server:
            given.append(backlog)
            return await create(*args, backlog=backlog, **options)  # type: ignore[call-overload, no-any-return]

        loop.create_server = noting  # type: ignore[method-assign, assignment]
        accept_few(loop, 4)
        accept_few(loop, 4)
        for backlog in (1, 100):
            (await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=backlog)).close()
        return given

    assert asyncio.run(main()) == [1, 4]
