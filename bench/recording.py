"""What recording costs, how well a replay keeps the pace, and how long a gigabyte takes to list."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai

from bench.app import OPENAI_MODEL
from bench.load import CLOCK_TICKS, place
from bench.statistics import Summary, summarise
from cassettes.format import Entry
from cassettes.read import read

DELTAS, DELTA_S = 100, 0.005
GIGABYTE = 1024 * 1024 * 1024


async def stream(client: openai.AsyncOpenAI, prompt: str) -> list[float]:
    """Play one stream and return when each piece of its text came (``time.monotonic()``)."""
    answer = await client.chat.completions.create(
        model=OPENAI_MODEL, messages=[{"role": "user", "content": prompt}], stream=True
    )
    return [time.monotonic() async for _ in answer]


def cpu_s(pid: int) -> float:
    """Return a process's own processor time, without what it has started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


async def cost(requests: int, record: Path | None) -> float:
    """Return the proxy's processor time of a request, in ms."""
    settings = {} if record is None else {"record": str(record)}
    async with place(**settings) as where:
        prompt = f"Count. [{DELTAS} deltas, {DELTA_S} s apart]"
        for _ in range(3):
            await stream(where.through, prompt)
        before = cpu_s(where.proxy.pid)
        for _ in range(requests):
            await stream(where.through, prompt)
        return (cpu_s(where.proxy.pid) - before) / requests * 1000


async def pace(streams: int, folder: Path) -> Summary:
    """Return how far the pieces of a replay are from when they came when it was recorded, in ms."""
    cassette = folder / "pace.jsonl"
    prompts = [f"Count {n}. [{DELTAS} deltas, 0.02 s apart]" for n in range(streams)]
    async with place(record=str(cassette)) as where:
        for prompt in prompts:
            await stream(where.through, prompt)
        where.proxy.terminate()
        await where.proxy.wait()
    recorded = {
        entry.request.json["messages"][0]["content"]: [chunk.at_ms for chunk in entry.chunks]
        for entry in read(cassette)
        if isinstance(entry, Entry)
    }
    off: list[float] = []
    async with place(replay=str(cassette)) as where:
        await stream(where.through, prompts[0])
        for prompt in prompts:
            # Between the pieces, which says nothing of how long it takes to ask.
            came, was = await stream(where.through, prompt), recorded[prompt]
            now = [(at - came[0]) * 1000 for at in came]
            then = [at - was[0] for at in was]
            off += [abs(a - b) for a, b in zip(now, then, strict=False)]
    return summarise(off)


def listing(folder: Path) -> dict[str, Any]:
    """Return how long a gigabyte takes to list, first and again, in s, and what memory that takes, in MiB."""
    fixture = Path(__file__).parents[1] / "fixtures" / "exchanges" / "chat_streamed.jsonl"
    head, *lines = fixture.read_bytes().splitlines(keepends=True)
    id = json.loads(lines[0])["id"].encode()
    block = b"".join(lines)
    cassette = folder / "large.jsonl"
    count = GIGABYTE // len(block)
    with cassette.open("wb") as file:
        file.write(head)
        for n in range(count):
            file.write(block.replace(id, b"e%09d" % n))
    times: dict[str, Any] = {"exchanges": count}
    for name in ("first", "again"):
        began = time.monotonic()
        command = [sys.executable, "-m", "understudy", "show", str(cassette)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        times[name] = time.monotonic() - began
    times["memory_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return times


def measure(rounds: int) -> dict[str, Any]:
    """Measure everything."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        plain, taped = [], []
        for n in range(rounds):
            plain.append(asyncio.run(cost(10, None)))
            taped.append(asyncio.run(cost(10, folder / f"{n}.jsonl")))
        return {
            "request_ms": {"plain": summarise(plain).median, "recorded": summarise(taped).median},
            "chunk_ms": (summarise(taped).median - summarise(plain).median) / DELTAS,
            "pace_off_ms": asyncio.run(pace(5, folder)),
            "gigabyte": listing(folder),
        }
