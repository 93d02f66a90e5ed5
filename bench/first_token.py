"""Time to the first token and to the last: through the proxy, by the SDK alone, and by a direct client.

All ask the same rehearsal, in turn, round by round. It runs in a process of its own, so that no yardstick shares a
processor's time with it more than another.
"""

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from anthropic import AsyncAnthropic
from claude_agent_sdk import ClaudeAgentOptions, StreamEvent, query

from bench.statistics import Summary, median_ratio, summarise
from engine.sdk import ENVIRONMENT

ROOT = Path(__file__).parents[1]
DELTA_S = 0.005
PROMPT = "[rehearse: words=48]"
MODEL = "haiku"
API_MODEL = "claude-haiku-5-5"

# Between requests a person thinks; in that time the spare process is replaced.
PAUSE_S = 1.2


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer: seconds to the first and the last piece of text, and how many pieces came."""

    first_s: float
    total_s: float
    pieces: int


type Yardstick = Callable[[], Awaitable[Timing]]


async def measure(rounds: int) -> dict[str, list[Timing]]:
    """Measure every yardstick in turn, ``rounds`` times, after one round that is not counted."""
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "UNDERSTUDY_DATA_DIR": str(home / "data")}
        base_url = await stack.enter_async_context(rehearsal(environment))
        asked = environment | {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
        warm = await stack.enter_async_context(proxy_client(asked | {"UNDERSTUDY_SPARE_PROCESSES": "1"}))
        cold = await stack.enter_async_context(proxy_client(asked | {"UNDERSTUDY_SPARE_PROCESSES": "0"}))
        direct = AsyncAnthropic(base_url=base_url, api_key="rehearsal")
        stack.push_async_callback(direct.close)
        yardsticks: dict[str, Yardstick] = {
            "direct Anthropic client": lambda: by_anthropic(direct),
            "SDK query()": lambda: by_query(asked, home),
            "proxy, spare process": lambda: by_proxy(warm),
            "proxy, nothing warm": lambda: by_proxy(cold),
        }
        timings: dict[str, list[Timing]] = {name: [] for name in yardsticks}
        for number in range(rounds + 1):
            for name, yardstick in yardsticks.items():
                await asyncio.sleep(PAUSE_S)
                timing = await yardstick()
                if number:
                    timings[name].append(timing)
        return timings


async def by_anthropic(client: AsyncAnthropic) -> Timing:
    """Ask the API directly."""
    watch = Stopwatch()
    messages = [{"role": "user", "content": PROMPT}]
    async with client.messages.stream(model=API_MODEL, max_tokens=1000, messages=messages) as stream:  # type: ignore[arg-type]
        async for text in stream.text_stream:
            watch.note(text)
    return watch.read()


async def by_query(environment: Mapping[str, str], home: Path) -> Timing:
    """Ask with the SDK's own one-shot function, as other bridges do."""
    watch = Stopwatch()
    cwd = home / "query"
    cwd.mkdir(exist_ok=True)
    options = ClaudeAgentOptions(
        model=MODEL,
        tools=[],
        setting_sources=[],
        strict_mcp_config=True,
        include_partial_messages=True,
        cwd=cwd,
        env={**ENVIRONMENT, **environment, "CLAUDE_CONFIG_DIR": str(home / "config")},
        extra_args={"bare": None, "no-session-persistence": None},
    )
    async for message in query(prompt=PROMPT, options=options):
        if isinstance(message, StreamEvent):
            watch.note(message.event.get("delta", {}).get("text", ""))
    return watch.read()


async def by_proxy(client: httpx.AsyncClient) -> Timing:
    """Ask as an OpenAI app does, through HTTPS_PROXY, on a connection that is kept alive."""
    watch = Stopwatch()
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    async with client.stream("POST", "https://api.openai.com/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if match := re.search(r'"content":"((?:[^"\\]|\\.)+)"', line):
                watch.note(match[1])
    return watch.read()


class Stopwatch:
    """Runs from its making; notes pieces of text."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first = self._last = 0.0
        self._pieces = 0

    def note(self, text: str) -> None:
        """Note a piece, unless it is empty."""
        if text:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._pieces += 1

    def read(self) -> Timing:
        """Return what was noted."""
        return Timing(self._first - self._began, self._last - self._began, self._pieces)


@contextlib.asynccontextmanager
async def rehearsal(environment: Mapping[str, str]) -> AsyncIterator[str]:
    """Run a rehearsal and yield its address."""
    command = ("-m", "rehearsal", "--delay", str(DELTA_S))
    async with program(command, environment, asyncio.subprocess.PIPE, None) as process:
        if process.stdout is None:
            raise RuntimeError("the rehearsal has no output")
        yield (await process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def proxy_client(environment: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """Run the proxy and yield a client that goes through it and trusts it."""
    command = ("run_proxy.py", "serve", "--listen", "127.0.0.1:0")
    async with program(command, {**environment, "COLUMNS": "200"}, None, asyncio.subprocess.PIPE) as process:
        if process.stderr is None:
            raise RuntimeError("the proxy has no log")
        address = ""
        while not address:
            line = (await process.stderr.readline()).decode()
            if not line:
                raise RuntimeError("the proxy did not start")
            if match := re.search(r"the proxy listens at (http://\S+),", line):
                address = match[1]
        draining = asyncio.create_task(process.stderr.read())
        certificate = Path(environment["UNDERSTUDY_DATA_DIR"]) / "ca" / "mitmproxy-ca-cert.pem"
        async with httpx.AsyncClient(proxy=address, verify=str(certificate), timeout=60) as client:
            yield client
        draining.cancel()


@contextlib.asynccontextmanager
async def program(
    command: tuple[str, ...], environment: Mapping[str, str], stdout: int | None, stderr: int | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of our programs while the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=dict(environment), stdout=stdout, stderr=stderr
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


def rows(timings: Mapping[str, list[Timing]]) -> list[tuple[str, Summary, Summary, float]]:
    """Return (yardstick, seconds to the first token, seconds in all, median number of pieces)."""
    return [
        (
            name,
            summarise([timing.first_s for timing in them]),
            summarise([timing.total_s for timing in them]),
            summarise([timing.pieces for timing in them]).median,
        )
        for name, them in timings.items()
    ]


def ratios(timings: Mapping[str, list[Timing]]) -> dict[str, float]:
    """Return the comparisons that are quoted, each the median over rounds."""
    first = {name: [timing.first_s for timing in them] for name, them in timings.items()}
    return {
        "first token: proxy, nothing warm / SDK query()": median_ratio(
            first["proxy, nothing warm"], first["SDK query()"]
        ),
        "first token: proxy, spare process / SDK query()": median_ratio(
            first["proxy, spare process"], first["SDK query()"]
        ),
        "first token: proxy, spare process / direct client": median_ratio(
            first["proxy, spare process"], first["direct Anthropic client"]
        ),
    }
