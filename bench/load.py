"""What many at once, long conversations and long prompts cost: through the proxy, and beside it.

Everything is asked of one rehearsal (:mod:`bench.api`); each prompt says how its answer is to be paced, and the API
tells when it wrote each delta.
"""

import asyncio
import contextlib
import json
import os
import ssl
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai

from bench.api import DELTA_CHARS, TOOL_STEPS
from bench.app import CLAUDE_MODEL, OPENAI_MODEL
from bench.first_token import app_of, by_app, clean, line, proxy_at, rehearsal
from bench.statistics import Summary, carried, summarise
from engine.memory import pss_bytes

TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Place:
    """A rehearsal, a proxy before it, and clients for both. ``written`` maps a prompt's end to its deltas' times."""

    proxy: Process
    through: openai.AsyncOpenAI
    direct: anthropic.AsyncAnthropic
    written: dict[str, list[float]]
    environment: Mapping[str, str]


@contextlib.asynccontextmanager
async def place(**settings: str) -> AsyncIterator[Place]:
    """Start a rehearsal and a proxy with these ``UNDERSTUDY_*`` settings."""
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        api, base_url = await stack.enter_async_context(rehearsal(clean(home / "api")))
        asks = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
        environment = clean(home / "proxy") | asks | {f"UNDERSTUDY_{k.upper()}": v for k, v in settings.items()}
        proxy, address = await stack.enter_async_context(proxy_at(environment))
        tls = ssl.create_default_context(cafile=home / "proxy" / "data" / "ca" / "mitmproxy-ca-cert.pem")
        http = openai.DefaultAsyncHttpxClient(proxy=f"http://{address}", verify=tls, timeout=300)
        through = await stack.enter_async_context(openai.AsyncOpenAI(api_key="sk-any", http_client=http, max_retries=0))
        direct = await stack.enter_async_context(
            anthropic.AsyncAnthropic(base_url=base_url, api_key="rehearsal", max_retries=0)
        )
        written: dict[str, list[float]] = {}
        reading = asyncio.create_task(_read(api, written))
        try:
            yield Place(proxy, through, direct, written, environment)
        finally:
            reading.cancel()


async def _read(api: Process, written: dict[str, list[float]]) -> None:
    while True:
        prompt, at = json.loads(await line(api))
        written[prompt] = at


async def ask(to: Place, prompt: str, *, direct: bool = False, **fields: Any) -> tuple[float, list[tuple[float, int]]]:
    """Ask for a stream; return when it was asked and each piece of text, when and how long."""
    messages: list[Any] = [{"role": "user", "content": prompt}]
    asked_at = time.monotonic()
    pieces: list[tuple[float, int]] = []
    if direct:
        answer = await to.direct.messages.create(model=CLAUDE_MODEL, max_tokens=4000, messages=messages, stream=True)
        async for event in answer:
            text = getattr(getattr(event, "delta", None), "text", "")
            pieces += [(time.monotonic(), len(text))] if text else []
    else:
        stream = await to.through.chat.completions.create(
            **{"model": OPENAI_MODEL, "messages": messages, "stream": True, **fields}
        )
        async for chunk in stream:
            pieces += [(time.monotonic(), len(c.delta.content)) for c in chunk.choices if c.delta.content]
    return asked_at, pieces


@dataclass(frozen=True, slots=True)
class Delays:
    """How long a delta was on its way with so many streams at once, in ms; and how many pieces came of those sent."""

    streams: int
    proxy: Summary
    direct: Summary
    pieces: int
    sent: int


async def delays(streams: int, rounds: int, delta_s: float) -> Delays:
    """Measure the way of deltas with ``streams`` at once, each delta ``delta_s`` after the one before."""
    ways: dict[bool, list[float]] = {True: [], False: []}
    pieces = sent = 0
    async with place(max_processes=str(max(8, streams)), spare_processes="2") as to:
        # Every process is there before anything is measured.
        await asyncio.gather(*(ask(to, f"warm {n} [2 deltas, 2.0 s apart]") for n in range(streams)))
        for number in range(rounds):
            for direct in (True, False):
                prompts = [f"{number} {direct} {n} [60 deltas, {delta_s} s apart]" for n in range(streams)]
                answers = await asyncio.gather(*(ask(to, prompt, direct=direct) for prompt in prompts))
                await asyncio.sleep(0.1)
                for prompt, (_, received) in zip(prompts, answers, strict=True):
                    ways[direct] += [s * 1000 for s in carried(to.written[prompt], DELTA_CHARS, received)]
                    if not direct:
                        pieces, sent = pieces + len(received), sent + 60
    return Delays(streams, summarise(ways[False]), summarise(ways[True]), pieces, sent)


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process and all below it have used, those that have ended included."""
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / CLOCK_TICKS
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                todo += map(int, children.read_text().split())
    return total


async def cpu(requests: int) -> dict[str, float]:
    """Return the processor milliseconds that a request costs: the proxy with its Claude, and the SDK with its own."""
    async with place() as to:
        for _ in range(3):
            await ask(to, "warm up [60 deltas, 0.005 s apart]")
        await asyncio.sleep(2)  # until the spare has booted
        before = cpu_s(to.proxy.pid)
        for _ in range(requests):
            await ask(to, "Count, please. [60 deltas, 0.005 s apart]")
        ours = cpu_s(to.proxy.pid) - before
        home = Path(to.environment["HOME"]).parent / "sdk"
        asks = {name: to.environment[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")}
        async with app_of("sdk", clean(home) | asks) as app:
            for _ in range(3):
                await by_app(app, None)
            before = cpu_s(app.pid)
            for _ in range(requests):
                await by_app(app, None)
            theirs = cpu_s(app.pid) - before
    return {"proxy": ours / requests * 1000, "SDK": theirs / requests * 1000}


async def throughput(at_once: int, each: int) -> dict[str, float]:
    """Return the answers a second with so many clients at once: through the proxy, and with as many SDK clients."""
    prompt = "Count, please. [60 deltas, 0.005 s apart]"
    async with place(max_processes=str(at_once)) as to, contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(ask(to, "warm [2 deltas, 2.0 s apart]") for _ in range(at_once)))

        async def many() -> None:
            for _ in range(each):
                await ask(to, prompt)

        async def many_by_sdk(app: Process) -> None:
            for _ in range(each):
                await by_app(app, None)

        began = time.monotonic()
        await asyncio.gather(*(many() for _ in range(at_once)))
        ours = at_once * each / (time.monotonic() - began)
        home = Path(to.environment["HOME"]).parent
        asks = {name: to.environment[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")}
        apps = [await stack.enter_async_context(app_of("sdk", clean(home / f"sdk{n}") | asks)) for n in range(at_once)]
        await asyncio.gather(*(by_app(app, None) for app in apps))
        began = time.monotonic()
        await asyncio.gather(*(many_by_sdk(app) for app in apps))
        theirs = at_once * each / (time.monotonic() - began)
    return {"proxy": ours, "SDK": theirs}


async def steps(kind: str) -> list[float]:
    """Return how long each step of a conversation or a tool loop took to its first piece or call, in ms."""
    times: list[float] = []
    async with place() as to:
        await ask(to, "warm up [2 deltas, 0.01 s apart]")
        await asyncio.sleep(1.5)
        messages: list[Any] = [{"role": "user", "content": "Count, please. [3 deltas, 0.0 s apart]"}]
        for number in range(TOOL_STEPS):
            fields: dict[str, Any] = {"tools": [TOOL]} if kind == "loop" else {}
            asked_at = time.monotonic()
            first = None
            text, calls = "", []
            stream = await to.through.chat.completions.create(
                model=OPENAI_MODEL, messages=messages, stream=True, **fields
            )
            async for chunk in stream:
                for choice in chunk.choices:
                    if first is None and (choice.delta.content or choice.delta.tool_calls):
                        first = time.monotonic() - asked_at
                    text += choice.delta.content or ""
                    calls += [c for c in choice.delta.tool_calls or [] if c.id]
            if number:
                times.append((first or 0) * 1000)
            answer: dict[str, Any] = {"role": "assistant", "content": text or None}
            if calls:
                answer["tool_calls"] = [
                    {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": "{}"}}
                    for c in calls
                ]
            messages.append(answer)
            messages += [{"role": "tool", "tool_call_id": c.id, "content": f"result {number}"} for c in calls] or [
                {"role": "user", "content": f"And {number}? [3 deltas, 0.0 s apart]"}
            ]
    return times


async def memory(streams: int) -> dict[str, float]:
    """Return what the proxy's own process takes, in MiB, with one stream open and with many."""
    sizes = {}
    async with place(max_processes=str(streams), spare_processes="0") as to:
        for count in (1, streams):
            open_streams = [
                asyncio.create_task(ask(to, f"{count} {n} [20 deltas, {max(1.0, count / 3):.1f} s apart]"))
                for n in range(count)
            ]
            await asyncio.sleep(2 + count * 0.6)
            sizes[str(count)] = (pss_bytes(to.proxy.pid) or 0) / 1024 / 1024
            for task in open_streams:
                task.cancel()
            await asyncio.gather(*open_streams, return_exceptions=True)
    return {**sizes, "each": (sizes[str(streams)] - sizes["1"]) / (streams - 1)}


async def growth() -> dict[str, list[tuple[float, float]]]:
    """Return (how much, ms) for more at once, longer histories and longer prompts."""
    result: dict[str, list[tuple[float, float]]] = {name: [] for name in ("at once", "cold", "continued", "prompt")}
    async with place(max_processes="32", spare_processes="1", max_memory_mb="8000") as to:
        for count in (1, 2, 4, 8, 16, 32):
            for _ in range(2):  # the first starts what is missing
                began = time.monotonic()
                await asyncio.gather(*(ask(to, f"{n} [10 deltas, 0.005 s apart]") for n in range(count)))
                took = (time.monotonic() - began) * 1000
            result["at once"].append((count, took))
    async with place(spare_processes="0") as to:
        for turns in (1, 10, 25, 50, 100, 200):
            history: list[Any] = []
            for n in range(turns):
                history += [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]
            for kind in ("cold", "continued"):
                system = {"role": "system", "content": f"You know {turns} turns."}
                question = {"role": "user", "content": "Count, please. [3 deltas, 0.0 s apart]"}
                asked_at, pieces = await ask(to, "", messages=[system, *history, question])
                result[kind].append((turns, (pieces[0][0] - asked_at) * 1000))
                history += [question, {"role": "assistant", "content": "000 001 002 "}]
                await asyncio.sleep(0.3)
    async with place() as to:
        await ask(to, "warm up [2 deltas, 0.01 s apart]")
        for kib in (1, 16, 64, 256, 1024, 5120):
            await asyncio.sleep(0.5)
            asked_at, pieces = await ask(to, "x" * kib * 1024 + " [3 deltas, 0.0 s apart]")
            result["prompt"].append((kib, (pieces[0][0] - asked_at) * 1000))
    return result


def plot(growth: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Draw growth; needs matplotlib (`uv run --group bench python -m bench load`)."""
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore]

    _, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    panels: list[tuple[str, list[str], str, str]] = [
        ("Answers at once", ["at once"], "requests at once", "ms until all are answered"),
        ("Turns of history", ["cold", "continued"], "turns", "ms to the first token"),
        ("Length of the prompt", ["prompt"], "KiB", "ms to the first token"),
    ]
    for ax, (title, names, x, y) in zip(axes, panels, strict=True):
        for name in names:
            ax.plot(*zip(*growth[name], strict=True), marker="o", label=name)
        ax.set(title=title, xlabel=x, ylabel=y)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
        if len(names) > 1:
            ax.legend()
    plt.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit("python -m bench load")
