"""Disturbs a proxy for minutes, and checks that it mixes no answers, loses no stored data and leaves no processes.

Clients ask for streams of chat completions and for stored responses. Each question has its own mark, which the
simulated API quotes. Meanwhile :mod:`bench.disturbances` are applied to the :class:`bench.stand.Stand`, one after the
other. A seed decides their order. After each one, the time until new clients get answers again is measured.
"""

import asyncio
import contextlib
import itertools
import random
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from bench.app import OPENAI_MODEL
from bench.disturbances import DISTURBANCES
from bench.stand import Stand, stand
from cassettes.format import Entry
from cassettes.read import read

SEED = 15
CLIENTS = 4
PAUSE_S = 5.0
"""The pause after the stand has recovered."""
RECOVERS_S = 60.0
"""After this time without an answer, it counts as not recovered."""
PROBE_S = 20.0
MARK = re.compile(r"mark-[0-9a-f]{16}")
FAILURES = (openai.APIError, OSError, TimeoutError)


@dataclass(slots=True)
class Tally:
    """The observations of the clients. ``acknowledged`` maps the id of a stored response to its mark."""

    answers: int = 0
    mixed: int = 0
    unmarked: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def check(self, text: str, mark: str, *, whole: bool = True) -> None:
        """Check that a text has its own mark and no other. An incomplete answer may have no mark."""
        found = set(MARK.findall(text))
        self.answers += whole
        self.mixed += bool(found - {mark})
        self.unmarked += whole and not found


@dataclass(frozen=True, slots=True)
class Recovery:
    """The time from a disturbance until new clients get answers, in seconds. None: they never did.

    ``ended`` lists the programs that had ended by themselves and were started again.
    """

    after: str
    seconds: float | None
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a chaos run. ``refused`` counts errors by kind. Errors are allowed, because clients can retry."""

    answers: int
    mixed: int
    unmarked: int
    acknowledged: int
    lost: int
    recorded: int
    orphans: int
    recoveries: Sequence[Recovery]
    refused: dict[str, int]
    database: str
    log: str = field(repr=False)

    @property
    def faults(self) -> list[str]:
        """What must not happen, in words."""
        counts = {
            "mixed answers": self.mixed,
            "answers without their mark": self.unmarked,
            "acknowledged responses lost": self.lost,
            "orphans": self.orphans,
            "disturbances without recovery": sum(it.seconds is None for it in self.recoveries),
            "runs without an answer": int(not self.answers),
        }
        return [f"{count} {what}" for what, count in counts.items() if count]


def marks(chance: random.Random) -> Iterator[str]:
    """Yield different marks."""
    while True:
        yield f"mark-{chance.randrange(16**16):016x}"


async def chaos(seconds: float, names: Sequence[str] = tuple(DISTURBANCES), seed: int = SEED) -> Report:
    """Disturb for ``seconds``, and apply each named disturbance at least once. Return the result."""
    tally, recoveries, orphans = Tally(), [], 0
    async with stand() as it:
        possible = [name for name in names if it.database is not None or name != "PostgreSQL stopped"]
        order = in_turn(possible, random.Random(seed))
        probes = marks(random.Random(seed + 1))
        recoveries.append(await recovery("the start", it, tally, probes))
        over = time.monotonic() + seconds
        async with clients(it, tally, seed):
            for number, name in enumerate(order):
                if number >= len(possible) and time.monotonic() > over:
                    break
                orphans += await DISTURBANCES[name](it)
                recoveries.append(await recovery(name, it, tally, probes))
                if recoveries[-1].seconds is None:
                    break
                await asyncio.sleep(PAUSE_S)
        lost = await lost_of(it.client(1), tally.acknowledged)
        orphans += await it.end_proxy(signal.SIGTERM)
        recorded = sum(isinstance(entry, Entry) for entry in read(it.cassettes))
        return Report(
            tally.answers, tally.mixed, tally.unmarked, len(tally.acknowledged), lost, recorded, orphans, recoveries,
            dict(tally.refused.most_common()), "SQLite" if it.database is None else "PostgreSQL", it.log(),
        )  # fmt: skip


def in_turn(names: Sequence[str], chance: random.Random) -> Iterator[str]:
    """Yield all names in random order, then again in another order, and so on."""
    while names:
        yield from chance.sample(names, len(names))


async def recovery(after: str, it: Stand, tally: Tally, probes: Iterator[str]) -> Recovery:
    """Send requests with new clients until each kind of request is answered at each address."""
    began = time.monotonic()
    ended: list[str] = []
    while time.monotonic() - began < RECOVERS_S:
        ended += it.start_what_ended()
        try:
            async with asyncio.timeout(PROBE_S):
                for number, ask in itertools.product(range(2), (chat, response)):
                    async with it.client(number) as client:
                        await ask(client, next(probes), tally)
        except FAILURES:
            await asyncio.sleep(0.1)
        else:
            return Recovery(after, time.monotonic() - began, tuple(ended))
    return Recovery(after, None, tuple(ended))


@contextlib.asynccontextmanager
async def clients(it: Stand, tally: Tally, seed: int) -> AsyncIterator[None]:
    """Run clients that send one request after the other. At the end, let them finish."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(keep_asking(it.client(number), random.Random(f"{seed} {number}"), tally, stop))
        try:
            yield
        finally:
            stop.set()


async def keep_asking(client: openai.AsyncOpenAI, chance: random.Random, tally: Tally, stop: asyncio.Event) -> None:
    """Send requests until ``stop`` is set. Count failures, and wait a little after each, as real clients do."""
    mark = marks(chance)
    async with client:
        while not stop.is_set():
            try:
                async with asyncio.timeout(RECOVERS_S):
                    await chance.choice((chat, response, streamed_response))(client, next(mark), tally)
            except FAILURES as error:
                status = getattr(error, "status_code", None)
                tally.refused[f"status {status}" if status else type(error).__name__] += 1
                await asyncio.sleep(0.2)


async def chat(client: openai.AsyncOpenAI, mark: str, tally: Tally) -> None:
    """Request a chat completion as a stream."""
    text, whole = "", False
    messages: Any = [{"role": "user", "content": f"{mark} is what you quote, and nothing else {mark}"}]
    stream = await client.chat.completions.create(model=OPENAI_MODEL, messages=messages, stream=True)
    try:
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                whole |= choice.finish_reason is not None
    finally:
        tally.check(text, mark, whole=whole)


async def response(client: openai.AsyncOpenAI, mark: str, tally: Tally) -> None:
    """Request a stored response."""
    answer = await client.responses.create(model=OPENAI_MODEL, input=f"{mark} please")
    tally.check(answer.output_text, mark)
    if getattr(answer, "store", True):
        tally.acknowledged[answer.id] = mark


async def streamed_response(client: openai.AsyncOpenAI, mark: str, tally: Tally) -> None:
    """Request a stored response, as a stream."""
    text, whole = "", False
    stream = await client.responses.create(model=OPENAI_MODEL, input=f"{mark} please", stream=True)
    try:
        async for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.completed":
                whole = True
                if getattr(event.response, "store", True):
                    tally.acknowledged[event.response.id] = mark
    finally:
        tally.check(text, mark, whole=whole)


async def lost_of(client: openai.AsyncOpenAI, acknowledged: dict[str, str]) -> int:
    """Read all acknowledged responses. Return the number of those that are missing or changed."""
    lost = 0
    async with client:
        for name, mark in acknowledged.items():
            try:
                answer = await client.responses.retrieve(name)
            except FAILURES:
                lost += 1
            else:
                lost += set(MARK.findall(answer.output_text)) != {mark}
    return lost
