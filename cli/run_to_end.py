"""Runs a command's coroutine until it ends, or until a signal ends it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from addons.doors import CannotListenError
from cli.fatal import fatal
from launch.signals import known, listening

ENDING = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""The names of the signals. No system has all of them."""


def run_to_end(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine and return its exit status. The signals of :data:`ENDING` cancel it, as Ctrl-C does."""

    async def guarded() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)
        with listening(loop, known(ENDING), lambda number: end(task, int(number))):
            return await task

    ended_by: list[int] = []

    def end(task: asyncio.Future[int], number: int) -> None:
        ended_by.append(number)
        task.cancel()

    try:
        return asyncio.run(guarded())
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + (ended_by[0] if ended_by else signal.SIGINT)
    except CannotListenError as error:
        raise fatal(str(error)) from None
