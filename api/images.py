"""Check and scale images, so that Claude Code passes them on unchanged.

Claude Code re-encodes an image beyond certain limits and adds text to the prompt. It replaces an image that it cannot
read with a sentence (facts F25, F26). So images are checked here first. Broken ones are refused. Those that are too
large are scaled down once.

An image of some kilobytes may decode to gigabytes. So its dimensions are read before it is decoded. An image that must
be scaled down is decoded in a separate process (:mod:`api.image_process`), which has limits on memory and time and may
die. The number of these processes is limited. Requests wait for a free one, and clients take turns.
"""

import asyncio
import base64
import contextlib
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from api import image_process as image_process
from api.image_process import ImageError, look
from engine import ClaudeError
from engine.aside import aside
from engine.places import Places
from engine.tasks import TaskSet
from translate.errors import OpenAIError
from translate.turn import ContentBlock, Message, Turn, turn_weight

log = logging.getLogger(__name__)

PIXELS_OF_A_MEGAPIXEL = 1_000_000
PROGRAM = Path(image_process.__file__)
TYPES = {b"J": "image/jpeg", b"W": "image/webp"}

KEEP_S = 30.0
"""How long an idle process stays alive."""

THREADS = 2
"""How many images are checked at once. A WebP of the largest size that is not scaled takes up to 60 MB."""

TOGETHER = 1000
"""After so many blocks without an image, other tasks run."""

# The only environment variables that the process gets: those that Python needs to start.
ENVIRONMENT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH")


class Images:
    """Bring the images of turns within the limits. In an ``async with``, idle processes stay alive for a while.

    ``max_megapixels`` is the largest size of an image. ``processes`` is how many images are scaled down at once. Each
    process may use ``memory_mb`` MB and ``time_s`` seconds. At most ``max_waiting`` images wait for a process, each for
    up to ``wait_s`` seconds.
    """

    def __init__(
        self,
        *,
        max_megapixels: float = 64,
        processes: int = 1,
        memory_mb: int = 768,
        max_waiting: int = 100,
        wait_s: float = 60.0,
        time_s: float = 30.0,
    ) -> None:
        self._max_pixels = int(max_megapixels * PIXELS_OF_A_MEGAPIXEL)
        self._memory_mb = memory_mb
        self._time_s = time_s
        self._places = Places(processes, max_waiting=max_waiting, wait_s=wait_s)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="look into images")
        self._keeps = False
        self._idle: dict[Process, asyncio.TimerHandle] = {}
        self._ending = TaskSet()

    async def __aenter__(self) -> Self:
        self._keeps = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeps = False
        for process in tuple(self._idle):
            self._end_idle(process)
        await self._ending.wait()
        self._threads.shutdown(wait=False)

    async def fit_turn(self, turn: Turn, sent: Any = None, root: str = "") -> Turn:
        """Return the turn with its images within the limits.

        ``sent`` is the app's value of the parameter ``root`` (``messages``, ``input``). It gives the path of a broken
        image for the error. Raises OpenAIError: 400 for a broken image, 503 if no process is free in time.
        """
        if not await aside(turn_weight(turn), _has_inline, turn):
            return turn
        where = await asyncio.to_thread(places, sent, root)

        async def fitted(block: ContentBlock) -> ContentBlock:
            if _is_inline(block):
                return await self.fit(block, where.get(block["source"]["data"], root), turn.client)
            if block["type"] == "tool_result" and isinstance(block.get("content"), list):
                return {**block, "content": [await fitted(inside) for inside in block["content"]]}
            return block

        messages, looked_at = list[Message](), 0
        for message in turn.messages:
            blocks = list[ContentBlock]()
            for block in message.content:
                blocks.append(await fitted(block))
                looked_at += 1
                if looked_at % TOGETHER == 0:
                    await asyncio.sleep(0)
            messages.append(Message(message.role, tuple(blocks)))
        return replace(turn, messages=tuple(messages))

    async def fit(self, block: ContentBlock, where: str, client: str = "") -> ContentBlock:
        """Return an image block within the limits. ``where`` is its path in the request, for the error.

        Raises OpenAIError as :meth:`fit_turn` does.
        """
        source: dict[str, Any] = block["source"]

        def look_into() -> bytes | None:
            data = base64.b64decode(source["data"])
            return data if look(data, self._max_pixels) else None

        try:
            # Decoding takes time, so do it in a thread. Other streams must not wait for it.
            data = await asyncio.get_running_loop().run_in_executor(self._threads, look_into)
            if data is None:
                return block
            media_type, made = await self._smaller(data, client)
        except (ImageError, ValueError) as error:
            why = str(error) if isinstance(error, ImageError) else image_process.UNDECODABLE
            raise OpenAIError(f"Invalid image in '{where}': {why}.", param=where, code="invalid_image") from None
        encoded = base64.b64encode(made).decode("ascii")
        return {**block, "source": {**source, "media_type": media_type, "data": encoded}}

    async def _smaller(self, data: bytes, client: str) -> tuple[str, bytes]:
        """Scale an image down in a process. Raises ImageError, or OpenAIError (503)."""
        try:
            async with self._places.place(client), self._process() as process:
                return await asyncio.wait_for(_ask(process, data), self._time_s)
        except ClaudeError as error:
            raise _unavailable("Understudy scales down as many images as it may.", error.retry_after_s) from None
        except TimeoutError:
            raise ImageError(f"decoding it takes more than {self._time_s:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            # The system killed the process, or the decoder crashed. The image is the cause in both cases.
            log.warning("a process that scales images down died of an image of %d bytes", len(data))
            raise ImageError("the process that decoded it died") from None
        except OSError as error:
            log.warning("no process to scale images down with can be started: %s", error)
            raise _unavailable("Images cannot be scaled down at the moment.", 1) from None

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        """Yield a process for one image. End the process if the body raises an exception."""
        process = None
        while self._idle and process is None:
            process, timer = self._idle.popitem()
            timer.cancel()
            if process.returncode is not None:
                process = None
        if process is None:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(PROGRAM), str(self._memory_mb)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                # Ctrl-C in the terminal must not reach the process.
                start_new_session=os.name == "posix",
            )
        try:
            yield process
        except BaseException:
            await asyncio.shield(self._end(process))
            raise
        if self._keeps:
            self._idle[process] = asyncio.get_running_loop().call_later(KEEP_S, self._end_idle, process)
        else:
            await asyncio.shield(self._end(process))

    def _end_idle(self, process: Process) -> None:
        self._idle.pop(process).cancel()
        self._end(process)

    def _end(self, process: Process) -> asyncio.Task[None]:
        async def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            # This also reads the remaining output; otherwise the pipes would stay open.
            await process.communicate()

        return self._ending.start(end(), f"end the process {process.pid}, which scaled images down")


async def _ask(process: Process, data: bytes) -> tuple[str, bytes]:
    """Scale an image down in ``process``. Raises ImageError; IncompleteReadError or ConnectionError if it dies."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
    process.stdin.write(len(data).to_bytes(4) + data)
    await process.stdin.drain()
    head = await process.stdout.readexactly(5)
    made = await process.stdout.readexactly(int.from_bytes(head[1:]))
    if head[:1] not in TYPES:
        raise ImageError(made.decode())
    return TYPES[head[:1]], made


def _unavailable(message: str, retry_after_s: int | None) -> OpenAIError:
    return OpenAIError(
        f"{message} Try again in a moment.",
        status=503,
        type="server_error",
        code="overloaded",
        retry_after_s=retry_after_s,
    )


def places(value: Any, path: str) -> dict[str, str]:
    """Return the path of each inline image by its data. A path is ``messages[0].content[1].image_url.url``."""
    found: dict[str, str] = {}
    # Do not recurse: the nesting may exceed Python's recursion limit.
    left = [(value, path)]
    while left:
        value, path = left.pop()
        if isinstance(value, str) and value[:5].lower() == "data:":
            found[value.partition(",")[2]] = path
        elif isinstance(value, dict):
            left += [(inside, f"{path}.{name}") for name, inside in value.items()]
        elif isinstance(value, list):
            left += [(inside, f"{path}[{index}]") for index, inside in enumerate(value)]
    return found


def _with(block: ContentBlock) -> Sequence[ContentBlock]:
    """Return a block, and the blocks in it if it is a tool result."""
    inside = block.get("content") if block["type"] == "tool_result" else None
    return (block, *inside) if isinstance(inside, list) else (block,)


def _has_inline(turn: Turn) -> bool:
    return any(_is_inline(inside) for message in turn.messages for block in message.content for inside in _with(block))


def _is_inline(block: ContentBlock) -> bool:
    return bool(block["type"] == "image" and block["source"]["type"] == "base64")
