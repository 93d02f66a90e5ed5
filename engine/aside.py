"""Run the long work of large requests in a thread, so that it does not delay other requests."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from translate.long_work import LARGE, giving_way

# One thread only: with several, the event loop would wait longer for the interpreter's lock.
_thread = ThreadPoolExecutor(1, thread_name_prefix="large requests")


async def aside[**P, T](size: int, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of a call. It runs in a thread if it processes at least :data:`LARGE` bytes.

    The call must not change anything that others use. If the caller is cancelled, the call runs to its end, and its
    result is dropped.
    """
    if size < LARGE:
        return call(*args, **kwargs)
    context = contextvars.copy_context()

    def run() -> T:
        with giving_way():
            return context.run(call, *args, **kwargs)

    return await asyncio.get_running_loop().run_in_executor(_thread, run)
