"""Runs a mixture of all kinds of traffic for ten minutes, and checks what remains afterwards.

The mixture has plain questions, conversations, tool loops, long histories, apps that disconnect, an API that refuses,
breaks off, stalls and is overloaded, and ``claude`` processes that are killed. Each prompt has a name that the
simulated API quotes. So an answer that went to the wrong client is found.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from bench.app import OPENAI_MODEL
from bench.load import TOOL, Place, place

FAULTS = (
    "error=429 retry-after=1", "error=529", "error=500", "error=400", "drop", "cut after=3", "end after=2",
    "malformed after=2", "sse-error=overloaded_error after=2", "stop=max_tokens", "stop=refusal", 'text=""',
)  # fmt: skip
AT_ONCE = 10
KILL_EVERY_S = 7.0


@dataclass(frozen=True, slots=True)
class Rest:
    """The resources in use when nothing runs."""

    file_descriptors: int
    resident_mib: float
    claude_processes: int
    known_processes: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a soak. ``foreign`` is the number of answers with another conversation's name. It must be 0."""

    counts: dict[str, int]
    foreign: int
    early: Rest
    late: Rest
    status: dict[str, Any]


async def soak(seconds: float) -> Report:
    """Run the mixture for ``seconds``, and return the counts and the remaining resources."""
    counts: Counter[str] = Counter()
    chance = random.Random(4)
    async with place(spare_processes="2", timeout_s="20", idle_timeout_s="5") as to:
        rests: list[Rest] = []
        end = time.monotonic() + seconds
        middle = time.monotonic() + min(60.0, seconds / 3)
        for until in (middle, end):
            killer = asyncio.create_task(kill_now_and_then(to.proxy.pid, chance, counts))
            await asyncio.gather(*(worker(to, n, until, random.Random(n), counts) for n in range(AT_ONCE)))
            killer.cancel()
            rests.append(await at_rest(to))
        state = await status(to)
    return Report(dict(sorted(counts.items())), counts["FOREIGN"], rests[0], rests[-1], state)


async def worker(to: Place, number: int, until: float, chance: random.Random, counts: Counter[str]) -> None:
    """Send one request after the other."""
    done = 0
    while time.monotonic() < until:
        done += 1
        name = f"name-{number}-{done}-{chance.randrange(10**9)}"
        kind = chance.choice(["plain", "plain", "conversation", "loop", "long", "hang up", "fault"])
        counts[kind] += 1
        try:
            async with asyncio.timeout(60):
                await KINDS[kind](to, name, chance, counts)
        except openai.APIStatusError as error:
            counts[f"status {error.status_code}"] += 1
        except (openai.APIError, httpx.HTTPError) as error:
            counts[type(error).__name__] += 1


async def answer(to: Place, messages: list[Any], name: str, counts: Counter[str], **fields: Any) -> dict[str, Any]:
    """Send a conversation, and check that the answer belongs to it."""
    completion = await to.through.chat.completions.create(model=OPENAI_MODEL, messages=messages, **fields)
    message = completion.choices[0].message
    text = message.content or ""
    if "name-" in text and name not in text:
        counts["FOREIGN"] += 1
    kept: dict[str, Any] = message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
    return kept


async def plain(to: Place, name: str, _: random.Random, counts: Counter[str]) -> None:
    """Send one question."""
    await answer(to, [{"role": "user", "content": f"{name} [rehearse: delay=0]"}], name, counts)


async def conversation(to: Place, name: str, chance: random.Random, counts: Counter[str]) -> None:
    """Send a conversation of some turns."""
    messages: list[Any] = [{"role": "system", "content": f"You are {chance.randrange(3)}."}]
    for turn in range(chance.randint(2, 6)):
        messages.append({"role": "user", "content": f"{name} {turn} [rehearse: delay=0]"})
        messages.append(await answer(to, messages, name, counts))


async def loop(to: Place, name: str, chance: random.Random, counts: Counter[str]) -> None:
    """Run a tool loop."""
    messages: list[Any] = [{"role": "user", "content": f"{name} [rehearse: tool calls={chance.randint(1, 3)}]"}]
    message = await answer(to, messages, name, counts, tools=[TOOL])
    messages.append(message)
    messages += [
        {"role": "tool", "tool_call_id": call["id"], "content": f"result of {name}"}
        for call in message.get("tool_calls", [])
    ]
    if message.get("tool_calls"):
        await answer(to, messages, name, counts, tools=[TOOL])


async def long(to: Place, name: str, chance: random.Random, counts: Counter[str]) -> None:
    """Send a long history at once."""
    history = [
        {"role": role, "content": f"{name} {n}"}
        for n in range(chance.choice([20, 150]))
        for role in ("user", "assistant")
    ]
    await answer(to, [*history, {"role": "user", "content": f"{name} [rehearse: delay=0]"}], name, counts)


async def hang_up(to: Place, name: str, chance: random.Random, _: Counter[str]) -> None:
    """Disconnect during an answer, or before it."""
    prompt = chance.choice(["words=60 delay=0.02", "hang", "stall after=3"])
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.choice([0.05, 0.2, 0.8])):
            stream = await to.through.chat.completions.create(
                model=OPENAI_MODEL, messages=[{"role": "user", "content": f"{name} [rehearse: {prompt}]"}], stream=True
            )
            async for _chunk in stream:
                pass


async def fault(to: Place, name: str, chance: random.Random, counts: Counter[str]) -> None:
    """Make the simulated API fail."""
    prompt = f"{name} [rehearse: {chance.choice(FAULTS)}]"
    await answer(to, [{"role": "user", "content": prompt}], name, counts)


KINDS = {
    "plain": plain, "conversation": conversation, "loop": loop, "long": long, "hang up": hang_up, "fault": fault,
}  # fmt: skip


def claude_of(pid: int) -> list[int]:
    """Return the Claude Code processes that a proxy has started."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):
                program = Path(f"/proc/{child}/cmdline").read_bytes().partition(b"\0")[0]
                found += [child] if program.endswith(b"/claude") else []
    return found


async def kill_now_and_then(pid: int, chance: random.Random, counts: Counter[str]) -> None:
    """Kill one of the proxy's Claude Code processes every few seconds."""
    while True:
        await asyncio.sleep(KILL_EVERY_S)
        if running := claude_of(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(running), signal.SIGKILL)
                counts["killed"] += 1


async def status(to: Place) -> dict[str, Any]:
    """Return the state of the proxy."""
    answer = await to.through.get("https://api.openai.com/understudy/status", cast_to=httpx.Response)
    state: dict[str, Any] = answer.json()
    return state


async def at_rest(to: Place) -> Rest:
    """Wait until nothing runs, and return the resources in use."""
    while (state := await status(to))["running"] or any(  # noqa: ASYNC110 - the proxy tells nobody by itself
        one["state"] not in ("idle", "spare") for one in state["processes"]
    ):
        await asyncio.sleep(0.5)
    return rest_of(to.proxy.pid, len(state["processes"]))


def rest_of(pid: int, known: int) -> Rest:
    """Return the resources that a proxy uses."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Rest(
        file_descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        resident_mib=pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024,
        claude_processes=len(claude_of(pid)),
        known_processes=known,
    )


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON."""
    return asdict(report)
