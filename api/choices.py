"""Run the turns of one request, one for each choice, and yield their chunks as they arrive.

If ``n`` is above 1, the same turn runs n times, each on its own process. Chunks are interleaved as they arrive. Each
has the index of its choice. The last chunk has the usage of all choices.

At most MOST_AT_ONCE turns of a request run or wait in the engine at once. The others wait here, so that one request
does not take all places in the engine's queue. If the queue is full, a turn waits until another one of its request
ends.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from msgspec import UNSET

from engine import ClaudeError, Engine, Running
from translate.chat.stream import ChatCompletionStream
from translate.chat.wire import ChatCompletionChunk
from translate.claude_stream import ClaudeProtocolError
from translate.coalesce import coalesce
from translate.turn import Turn
from translate.usage import add_usage

log = logging.getLogger(__name__)

type Chunks = list[ChatCompletionChunk]

# A limit, so that even a slow app sees progress.
MAX_TOGETHER = 64

MOST_AT_ONCE = 16


class Choices:
    """The choices of one response.

    After the first chunks, ``processes`` says for each turn where its process came from. ``retries`` is the number of
    retries. ``ignored`` are the app's parameters that turned out to have no effect.
    """

    def __init__(self, engine: Engine, turns: Turn | Sequence[Turn], streams: Sequence[ChatCompletionStream]) -> None:
        """``turns`` is one turn for each stream, or a single turn for all of them."""
        self._engine = engine
        self._turns = [turns] * len(streams) if isinstance(turns, Turn) else list(turns)
        self._streams = streams
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._asking = 0
        """How many turns of this request run or wait in the engine."""
        self._ended = 0
        """How many turns of this request have ended."""
        self._change = asyncio.Condition()
        self.processes: list[str] = []
        self.retries = 0
        self.ignored: tuple[str, ...] = ()

    async def chunks(self) -> AsyncGenerator[Chunks]:
        """Yield the chunks for each of Claude's events. Raises ClaudeError if a turn fails."""
        playing = self._together() if len(self._streams) > 1 else self._alone(self._turns[0], self._streams[0])
        async with aclosing(playing):
            async for chunks in playing:
                yield chunks

    async def _alone(self, turn: Turn, stream: ChatCompletionStream) -> AsyncGenerator[Chunks]:
        async with self._engine.run(turn) as running, aclosing(chunks_of(running, stream)) as answer:
            first = True
            async for chunks in answer:
                if first:
                    first = False
                    self.processes.append(running.process)
                    self.retries += running.retries
                    self.ignored = tuple(dict.fromkeys((*self.ignored, *running.ignored)))
                yield chunks

    async def _together(self) -> AsyncGenerator[Chunks]:
        queue: asyncio.Queue[Chunks | Exception | None] = asyncio.Queue()
        playing = zip(self._turns, self._streams, strict=True)
        tasks = [asyncio.create_task(self._into(queue, turn, stream)) for turn, stream in playing]
        counted: Chunks = []
        try:
            left = len(tasks)
            while left:
                match await queue.get():
                    case None:
                        left -= 1
                    case Exception() as error:
                        raise error
                    case chunks:
                        counted += [chunk for chunk in chunks if not chunk.choices]
                        told = [chunk for chunk in chunks if chunk.choices]
                        if told or not chunks:
                            yield told
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if counted:
            usages = [chunk.usage for chunk in counted if chunk.usage is not UNSET and chunk.usage is not None]
            yield [msgspec.structs.replace(counted[-1], usage=add_usage(usages))]

    async def _into(
        self, queue: asyncio.Queue[Chunks | Exception | None], turn: Turn, stream: ChatCompletionStream
    ) -> None:
        try:
            async with self._room:
                while not await self._ask(queue, turn, stream):
                    pass
            await queue.put(None)
        except Exception as error:  # chunks() must raise every error
            await queue.put(error)

    async def _ask(
        self, queue: asyncio.Queue[Chunks | Exception | None], turn: Turn, stream: ChatCompletionStream
    ) -> bool:
        """Run a turn, and return whether it ran. If the engine's queue is full, wait until another turn has ended."""
        self._asking += 1
        try:
            async with aclosing(self._alone(turn, stream)) as answer:
                async for chunks in answer:
                    await queue.put(chunks)
        except ClaudeError as error:
            if error.kind != "queue_full" or self._asking == 1:
                raise
            ended = self._ended
        else:
            self._ended += 1
            async with self._change:
                self._change.notify_all()
            return True
        finally:
            self._asking -= 1
        async with self._change:
            await self._change.wait_for(lambda: self._ended > ended)
        return False


async def chunks_of(running: Running, stream: ChatCompletionStream) -> AsyncGenerator[Chunks]:
    """Yield the chunks for Claude's events, one event at a time, or several if they are waiting.

    The first list may be empty: the answer has begun, and nothing of it can be sent yet. Raises ClaudeError if the turn
    fails, or if its events end before the response is complete.
    """
    ready: Chunks = []
    begun = False
    try:
        async for event in running:
            ready += stream.feed(event)
            # A slow client gets fewer, larger pieces. A client that keeps up gets each piece at once.
            if (ready or not begun) and not (running.backlog and len(ready) < MAX_TOGETHER):
                begun = True
                yield coalesce(ready)
                ready = []
        stream.feed_eof()
    except (ClaudeError, ClaudeProtocolError) as error:
        if ready:
            yield coalesce(ready)
        if isinstance(error, ClaudeError):
            raise
        raise ClaudeError("stream_error", detail=str(error)) from error
    if ready:
        yield coalesce(ready)
    if stream.unknown_events:
        log.info("%d events of unknown types were skipped", stream.unknown_events)
