"""The simulated API, with the time of each delta: `python -m bench.api` prints its address, then one line per answer.

A line is JSON: the last words of the prompt, and the times just before each delta was written. The times are seconds of
``time.monotonic()``, which is the same clock in all processes of a machine. A prompt may end in ``[N deltas, S s
apart]``. A request with tools is answered with tool calls until ten results have come.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable

from rehearsal import ReceivedRequest, Rehearsal, Reply
from rehearsal.reply import ToolCall
from rehearsal.script import last_user_text
from rehearsal.tokens import TOKEN_CHARS

DELTAS = 60
DELTA_CHARS = TOKEN_CHARS
DELTA_S = 0.005
TOOL_STEPS = 10
PACE = re.compile(r"\[(\d+) deltas, ([\d.]+) s apart\]$")


def text_of(deltas: int) -> str:
    """Return a text of ``deltas`` deltas."""
    return ("".join(f"{n:03d} " for n in range(deltas)))[: deltas * DELTA_CHARS]


class Answer:
    """One answer. Its gates keep the pace, and record the time just before each delta."""

    def __init__(self, received: ReceivedRequest) -> None:
        self._began = time.monotonic()
        self._prompt = last_user_text(received.body)
        pace = PACE.search(self._prompt)
        self._deltas, self._delta_s = (int(pace[1]), float(pace[2])) if pace else (DELTAS, DELTA_S)
        self._written_at: list[float] = []
        self._told = asyncio.create_task(self._tell(received), name="tell when the deltas were written")

    def reply(self) -> Reply:
        """Return the reply for the rehearsal."""
        return Reply(text=text_of(self._deltas), delay_s=0, gates={k: self._gate(k) for k in range(self._deltas)})

    def _gate(self, k: int) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            # Wait for a fixed time, not for a pause after each delta. So the time for sending does not add up.
            await asyncio.sleep(max(0.0, self._began + (k + 1) * self._delta_s - time.monotonic()))
            self._written_at.append(time.monotonic())

        return wait

    async def _tell(self, received: ReceivedRequest) -> None:
        await received.ended.wait()
        print(json.dumps([self._prompt[-200:], self._written_at]), flush=True)


def calls_tool(received: ReceivedRequest) -> bool:
    """Return whether a request is a step of a tool loop that should continue."""
    blocks = [b for m in received.body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    return bool(received.body.get("tools")) and sum(b["type"] == "tool_result" for b in blocks) < TOOL_STEPS


async def serve() -> None:
    """Serve until the process is stopped."""
    answers: list[Answer] = []  # the latest answers, so that their tasks are not garbage-collected

    def script(received: ReceivedRequest) -> Reply | None:
        if "[rehearse:" in last_user_text(received.body):
            return None
        if calls_tool(received):
            return Reply(text="", tool_calls=(ToolCall(),), delay_s=0)
        answers[:] = [*answers[-256:], Answer(received)]
        return answers[-1].reply()

    async with Rehearsal(keep=1) as rehearsal:
        rehearsal.script(script)
        print(rehearsal.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
