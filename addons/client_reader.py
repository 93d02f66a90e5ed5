"""Reads a client's bytes for mitmproxy, with pauses and limits.

With it, an addon can pause a client while its key is checked. An addon can also discard the rest of a refused request.
Both happen before mitmproxy's layers see a byte.
"""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 5.0
LINGER_BYTES = 256 * 1024 * 1024
"""How long, and how many bytes, a client may send after a refusal. An early reset could destroy the response."""

WEBSOCKET_READ = 2048
"""How many bytes of a WebSocket are read at once. They may be hundreds of frames, all handled without a pause."""


class Reader:
    """Read a client's bytes, with pauses and limits. It replaces mitmproxy's StreamReader."""

    def __init__(self, reader: Any, seen: Callable[[int], bool]) -> None:
        """``seen`` gets the number of bytes of each read. It returns whether to read on."""
        self._reader = reader
        self._seen = seen
        self._waits = 0
        self._go = asyncio.Event()
        self._go.set()
        self._lingering = False
        self._is_first = True
        self._slice: int | None = None
        self._rest = b""
        """Bytes that were received and not returned yet."""

    def read_little(self) -> None:
        """Return few bytes at a time from now on. Other tasks run between the reads."""
        self._slice = WEBSOCKET_READ

    def pause(self) -> None:
        """Stop reading until :meth:`resume` has been called once for each :meth:`pause`."""
        self._waits += 1
        self._go.clear()

    def resume(self) -> None:
        """Undo one :meth:`pause`. Reading goes on after the last one."""
        self._waits -= 1
        if self._waits <= 0:
            self._waits = 0
            self._go.set()

    def linger(self) -> None:
        """Discard further bytes up to the LINGER limits, then report the end of the stream."""
        self._lingering = True

    async def read(self, most: int) -> bytes:
        """Return the bytes that have arrived; b"" at the end of the stream."""
        if self._is_first:
            # mitmproxy reads in an eager task, and stores the task when it first waits. If bytes or the end of the
            # stream are here already, the task would go on and end, and mitmproxy would fail: it is not stored yet.
            self._is_first = False
            await asyncio.sleep(0)
        while not self._lingering:
            await self._go.wait()
            if self._slice is not None:
                most = min(most, self._slice)
                # Bytes that are already buffered would be read without giving other tasks a turn.
                await asyncio.sleep(0)
            data: bytes = self._rest or await self._reader.read(most)
            # An addon may have paused the client, or refused its request, while this read waited.
            await self._go.wait()
            if self._lingering:
                break
            data = self._keep_rest(data)
            return data if self._seen(len(data)) else b""
        self._rest = b""
        try:
            async with asyncio.timeout(LINGER_S):
                thrown = 0
                while thrown < LINGER_BYTES and (data := await self._reader.read(most)):
                    thrown += len(data)
        except TimeoutError:
            pass
        return b""

    def _keep_rest(self, data: bytes) -> bytes:
        """Return the bytes that may be returned at once, and keep the others for the next read.

        A read that began before :meth:`read_little` may have received more than that.
        """
        if self._slice is None:
            return data
        self._rest = data[self._slice :]
        return data[: self._slice]
