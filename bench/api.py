"""The rehearsal, telling when it wrote each delta: `python -m bench.api` prints its address, then one line an answer.

A line is the JSON list of the seconds (``time.monotonic()``, the same clock in every process of the machine) at which
the answer's deltas were about to be written.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from rehearsal import ReceivedRequest, Rehearsal, Reply
from rehearsal.tokens import TOKEN_CHARS

DELTAS = 60
DELTA_CHARS = TOKEN_CHARS
DELTA_S = 0.005
TEXT = ("".join(f"{n:03d} " for n in range(DELTAS)))[: DELTAS * DELTA_CHARS]


class Answer:
    """One answer: its gates keep the pace and note the time, each just before its delta."""

    def __init__(self, received: ReceivedRequest) -> None:
        self._began = time.monotonic()
        self._written_at: list[float] = []
        self._told = asyncio.create_task(self._tell(received), name="tell when the deltas were written")

    def reply(self) -> Reply:
        """Return what the rehearsal is to play."""
        return Reply(text=TEXT, delay_s=0, gates={k: self._gate(k) for k in range(DELTAS)})

    def _gate(self, k: int) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            # A schedule, not a pause after each: what sending costs does not add up.
            await asyncio.sleep(max(0.0, self._began + (k + 1) * DELTA_S - time.monotonic()))
            self._written_at.append(time.monotonic())

        return wait

    async def _tell(self, received: ReceivedRequest) -> None:
        await received.ended.wait()
        print(json.dumps(self._written_at), flush=True)


async def serve() -> None:
    """Serve until the process is ended."""
    answers: list[Answer] = []  # the latest, so that its task is kept

    def script(received: ReceivedRequest) -> Reply:
        answers[:] = [*answers[-8:], Answer(received)]
        return answers[-1].reply()

    async with Rehearsal(keep=1) as rehearsal:
        rehearsal.script(script)
        print(rehearsal.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
