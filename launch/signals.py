"""Signals heard in an event loop, on every system."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator


def known(names: Iterable[str]) -> list[signal.Signals]:
    """Return the signals of these names that this system has. Windows has no SIGHUP, and only it has SIGBREAK."""
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__ and hasattr(signal, name)]


def listen(loop: asyncio.AbstractEventLoop, number: int, receive: Callable[[int], None]) -> None:
    """Have ``receive`` called in the loop with each signal of a number."""
    try:
        loop.add_signal_handler(number, receive, number)
    except NotImplementedError:  # Windows

        def pass_on(number: int, _frame: object) -> None:
            # A loop that is closed has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(receive, number)

        signal.signal(number, pass_on)


@contextlib.contextmanager
def listening(
    loop: asyncio.AbstractEventLoop, numbers: Iterable[int], receive: Callable[[int], None]
) -> Iterator[None]:
    """Have ``receive`` called while the block runs, and put back what was there before. For the main thread alone.

    A signal that we were started to ignore (``nohup``, a background job of a script) stays ignored.
    """
    found = {number: signal.getsignal(number) for number in numbers}
    earlier = {number: before for number, before in found.items() if before not in (signal.SIG_IGN, None)}
    for number in earlier:
        listen(loop, number, receive)
    try:
        yield
    finally:
        for number, before in earlier.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, before)
