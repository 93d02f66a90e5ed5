"""Signal handlers for an event loop, on POSIX and on Windows."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator


def known(names: Iterable[str]) -> list[signal.Signals]:
    """Return those of the named signals that this system has. Only Windows has SIGBREAK, and it lacks SIGHUP."""
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__ and hasattr(signal, name)]


def listen(loop: asyncio.AbstractEventLoop, number: int, receive: Callable[[int], None]) -> None:
    """Call ``receive`` in the loop whenever this signal comes."""
    try:
        loop.add_signal_handler(number, receive, number)
    except NotImplementedError:  # Windows

        def pass_on(number: int, _frame: object) -> None:
            # The loop may have been closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(receive, number)

        signal.signal(number, pass_on)


@contextlib.contextmanager
def listening(
    loop: asyncio.AbstractEventLoop, numbers: Iterable[int], receive: Callable[[int], None]
) -> Iterator[None]:
    """Call ``receive`` for these signals while the block runs, then restore the earlier handlers. Main thread only.

    A signal that was ignored when this process started (``nohup``, a script's background job) stays ignored.
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
