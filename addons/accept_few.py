"""Accept few waiting connections in each round of the event loop.

asyncio accepts up to a hundred waiting connections in one round, because it uses one number for two things: how many
connections the system may hold ready, and how many are accepted in a round. Everybody else waits until the round ends.
Here the two numbers differ.
"""

import asyncio
from typing import Any

WAITING = 1024
"""How many connections the system may hold until they are accepted. The system may lower this number."""


def accept_few(loop: asyncio.AbstractEventLoop, each_round: int) -> None:
    """Make all servers that this event loop starts from now on accept few connections in a round.

    ``each_round`` must be at least 1. A server with a smaller ``backlog`` keeps its own. Calling this again does no
    harm.
    """
    create = loop.create_server

    async def create_server(*args: Any, backlog: int = 100, **options: Any) -> asyncio.Server:
        server = await create(*args, backlog=min(backlog, each_round), **options)
        if backlog > each_round:
            for listening in server.sockets:
                # The copy is the same socket to the system, and asyncio's own has no listen().
                with listening.dup() as copy:
                    copy.listen(max(backlog, WAITING))
        return server

    loop.create_server = create_server  # type: ignore[method-assign]
