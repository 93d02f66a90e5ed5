"""Measures the time to the first and the last token, and the delay of a delta, with the proxy and without it.

All ask the same simulated API, alternately, round by round. The API (:mod:`bench.api`), the two proxies and the apps
(:mod:`bench.app`) each run in their own process in a clean environment. ``query()`` runs in this process.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, StreamEvent, query

from auth.credentials.spawn import rehearsal_environment
from bench.api import DELTA_CHARS, DELTAS
from bench.app import CLAUDE_MODEL, OPENAI_MODEL, PROMPT, Answer
from bench.statistics import Summary, carried, differences, ratios, summarise
from engine.sdk import ENVIRONMENT

ROOT = Path(__file__).parents[1]
UNDERSTUDY = str(Path(sys.executable).with_name("understudy"))

DIRECT = "direct client"
QUERY = "SDK query()"
SDK_REUSED = "SDK, kept client"
SDK_PREWARMED = "SDK, connected before"
REUSED = "proxy, reused"
WARM = "proxy, warm"
COLD = "proxy, cold"
LITELLM = "LiteLLM's proxy"

# The pause between requests, as of a user who thinks. During it the spare process is replaced.
PAUSE_S = 1.2

# Starts an app behind the proxy, exactly as in the README.
BEHIND_PROXY = 'eval "$(cd "$HOME" && "$1" env --listen "$2")" && exec "$3" -m bench.app "$4"'


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer, in ms: the time to the first and the last piece, the number of pieces, and each delta's delay."""

    first_ms: float
    total_ms: float
    pieces: int
    carried_ms: list[float]


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one yardstick, in milliseconds. ``fewest`` and ``most`` are numbers of received pieces."""

    name: str
    first: Summary
    total: Summary
    fewest: int
    most: int
    carried: Summary


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two yardsticks. ``aim`` is the upper limit for the median; None: there is none."""

    what: str
    unit: str
    summary: Summary
    aim: float | None = None


type Timings = Mapping[str, list[Timing]]
type Yardstick = Callable[[], Awaitable[Answer]]


async def measure(rounds: int, litellm: Path | None = None) -> Timings:
    """Measure all yardsticks alternately, ``rounds`` times, after one round that is not counted.

    ``litellm`` is LiteLLM's program. None: do not measure it.
    """
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        api, base_url = await stack.enter_async_context(rehearsal(clean(home / "api")))
        asks = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
        direct = await stack.enter_async_context(app_of("anthropic", clean(home / "direct") | asks))
        kept = await stack.enter_async_context(app_of("sdk", clean(home / "sdk") | asks))
        connected = await stack.enter_async_context(app_of("sdk-prewarmed", clean(home / "connected") | asks))
        reused = await stack.enter_async_context(proxied_app(clean(home / "reused") | asks))
        warm = await stack.enter_async_context(proxied_app(clean(home / "warm") | asks, "openai-new-system"))
        cold = await stack.enter_async_context(
            proxied_app(clean(home / "cold") | asks | {"UNDERSTUDY_SPARE_PROCESSES": "0"}, "openai-new-system")
        )
        options = query_options(clean(home / "query"), base_url)
        yardsticks: dict[str, Yardstick] = {
            DIRECT: lambda: by_app(direct, None),
            SDK_REUSED: lambda: by_app(kept, None),
            SDK_PREWARMED: lambda: by_app(connected, None),
            QUERY: lambda: by_query(options),
            REUSED: lambda: by_app(reused, "reused"),
            WARM: lambda: by_app(warm, "warm"),
            COLD: lambda: by_app(cold, "cold"),
        }
        if litellm is not None:
            other = await stack.enter_async_context(litellm_app(litellm, clean(home / "litellm") | asks, base_url))
            yardsticks[LITELLM] = lambda: by_app(other, None)
        await by_app(reused, "warm")  # the first of all has nothing to reuse
        await line(api)
        return await interleaved(yardsticks, api, rounds)


async def interleaved(yardsticks: Mapping[str, Yardstick], api: Process, rounds: int) -> Timings:
    """Use the yardsticks alternately. Each round begins with another one, so that their order changes."""
    timings: dict[str, list[Timing]] = {name: [] for name in yardsticks}
    names = list(yardsticks)
    for number in range(rounds + 1):
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            await asyncio.sleep(PAUSE_S)
            answer = await yardsticks[name]()
            _, written_at = json.loads(await line(api))
            if number:
                timings[name].append(timing(answer, written_at))
    return timings


def timing(answer: Answer, written_at: list[float]) -> Timing:
    """Compute the times. Raises ValueError if the API's record does not belong to this answer."""
    if len(written_at) != DELTAS or not written_at[0] > answer.asked_at:
        raise ValueError("the API answered something else than what was asked")
    (first_at, _), (last_at, _) = answer.pieces[0], answer.pieces[-1]
    return Timing(
        first_ms=(first_at - answer.asked_at) * 1000,
        total_ms=(last_at - answer.asked_at) * 1000,
        pieces=len(answer.pieces),
        carried_ms=[s * 1000 for s in carried(written_at, DELTA_CHARS, answer.pieces)],
    )


# The yardsticks.


async def by_app(app: Process, process: str | None) -> Answer:
    """Have an app ask. Raises ValueError when it was not answered by the kind of process that is measured."""
    if app.stdin is None:
        raise RuntimeError("the app has no input")
    app.stdin.write(b"\n")
    answer = Answer(**json.loads(await line(app)))
    if answer.process != process:
        raise ValueError(f"a {answer.process} process answered where a {process} one is measured")
    return answer


async def by_query(options: ClaudeAgentOptions) -> Answer:
    """Ask with the SDK's own one-shot function, as other bridges do for every request."""
    asked_at = time.monotonic()
    pieces = [
        (time.monotonic(), len(text))
        async for message in query(prompt=PROMPT, options=options)
        if isinstance(message, StreamEvent) and (text := message.event.get("delta", {}).get("text"))
    ]
    return Answer(asked_at, pieces)


def query_options(environment: Mapping[str, str], base_url: str) -> ClaudeAgentOptions:
    """Return options for ``query()`` that ask for what the engine asks for, as far as ``query()`` can."""
    own = {"CLAUDE_CONFIG_DIR": str(Path(environment["HOME"]) / "claude")}
    return ClaudeAgentOptions(
        model=CLAUDE_MODEL,
        tools=[],
        setting_sources=[],
        strict_mcp_config=True,
        include_partial_messages=True,
        verbatim_prompts=True,
        cwd=environment["HOME"],
        env={**ENVIRONMENT, **environment, **rehearsal_environment(base_url, environment), **own},
        extra_args={"bare": None, "no-session-persistence": None},
    )


# The programs.


def clean(home: Path) -> dict[str, str]:
    """Return an environment that nothing of this machine's reaches, least of all a credential or a proxy."""
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "UNDERSTUDY_DATA_DIR": str(home / "data")}


@contextlib.asynccontextmanager
async def rehearsal(environment: Mapping[str, str]) -> AsyncIterator[tuple[Process, str]]:
    """Run the simulated API; yield it and its address."""
    async with program([sys.executable, "-m", "bench.api"], environment, ROOT, stdout=PIPE) as process:
        yield process, await line(process)


@contextlib.asynccontextmanager
async def app_of(kind: str, environment: Mapping[str, str]) -> AsyncIterator[Process]:
    """Run an app that asks the API itself, or with the SDK."""
    command = [sys.executable, "-m", "bench.app", kind]
    async with program(command, environment, ROOT, stdin=PIPE, stdout=PIPE) as process:
        yield process


@contextlib.asynccontextmanager
async def proxied_app(environment: Mapping[str, str], kind: str = "openai") -> AsyncIterator[Process]:
    """Run a proxy and an OpenAI app behind it; yield the app."""
    async with proxy_at(environment) as (_, address):
        app_environment = {name: environment[name] for name in ("PATH", "HOME", "UNDERSTUDY_DATA_DIR")}
        command = ["sh", "-c", BEHIND_PROXY, "sh", UNDERSTUDY, address, sys.executable, kind]
        async with program(command, app_environment, ROOT, stdin=PIPE, stdout=PIPE) as app:
            yield app


@contextlib.asynccontextmanager
async def proxy_at(environment: Mapping[str, str], *options: str) -> AsyncIterator[tuple[Process, str]]:
    """Run a proxy; yield it and its HOST:PORT."""
    serve = [UNDERSTUDY, "serve", "--listen", "127.0.0.1:0", *options]
    home = Path(environment["HOME"])
    async with program(serve, {**environment, "COLUMNS": "200"}, home, stderr=PIPE) as proxy:
        address = await listening(proxy)
        async with draining(proxy):
            yield proxy, address


@contextlib.asynccontextmanager
async def litellm_app(litellm: Path, environment: Mapping[str, str], base_url: str) -> AsyncIterator[Process]:
    """Run LiteLLM's proxy before the same API, and an OpenAI app that has it for its base URL."""
    home = Path(environment["HOME"])
    model = {"model": f"anthropic/{CLAUDE_MODEL}", "api_base": base_url, "api_key": "rehearsal"}
    config = home / "config.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": OPENAI_MODEL, "litellm_params": model}]}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(litellm), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # It starts without a key of its own only when told that this is meant: it listens on loopback, for a minute.
    unguarded = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    async with program(command, {**environment, **unguarded}, home, stdout=DEVNULL, stderr=DEVNULL) as process:
        while process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.2)
        door = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "sk-any"}
        async with app_of("openai", {**environment, **door}) as app:
            yield app


async def listening(proxy: Process) -> str:
    """Wait until a proxy says where it listens; return HOST:PORT. Raises RuntimeError when it ends before."""
    if proxy.stderr is None:
        raise RuntimeError("the proxy has no log")
    log = ""
    while text := (await proxy.stderr.readline()).decode():
        log += text
        if match := re.search(r"the proxy listens at http://([\d.]+:\d+)", text):
            return match[1]
    raise RuntimeError(f"the proxy did not start:\n{log}")


@contextlib.asynccontextmanager
async def draining(proxy: Process) -> AsyncIterator[None]:
    """Read a proxy's log on, so that its pipe never fills."""
    if proxy.stderr is None:
        raise RuntimeError("the proxy has no log")
    task = asyncio.create_task(proxy.stderr.read(), name="drain the proxy's log")
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def program(
    command: list[str],
    environment: Mapping[str, str],
    cwd: Path,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> AsyncIterator[Process]:
    """Run a program while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=dict(environment), stdin=stdin, stdout=stdout, stderr=stderr
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def line(process: Process) -> str:
    """Return the next line that a program prints. Raises RuntimeError when there is none."""
    text = (await process.stdout.readline()).decode() if process.stdout else ""
    if not text:
        raise RuntimeError("a program of the bench ended before its time; what it said stands above")
    return text.strip()


# What is said about it.


def rows(timings: Timings) -> list[Row]:
    """Return a row for each yardstick."""
    return [
        Row(
            name,
            summarise([t.first_ms for t in them]),
            summarise([t.total_ms for t in them]),
            min(t.pieces for t in them),
            max(t.pieces for t in them),
            summarise(deltas_ms(them)),
        )
        for name, them in timings.items()
    ]


def comparisons(timings: Timings) -> list[Comparison]:
    """Return what is quoted: each taken round by round, and a delta's way delta by delta."""
    first = {name: [t.first_ms for t in them] for name, them in timings.items()}
    way = {name: deltas_ms(them) for name, them in timings.items()}
    pairs: list[tuple[str, str, float | None]] = [
        (REUSED, SDK_REUSED, 1.3),
        (WARM, SDK_PREWARMED, 1.15),
        (COLD, QUERY, 1.1),
        (REUSED, QUERY, None),
    ]
    return [
        Comparison("first: reused − direct", "ms", summarise(differences(first[REUSED], first[DIRECT])), 70.0),
        *(Comparison(f"first: {a} / {b}", "×", summarise(ratios(first[a], first[b])), most) for a, b, most in pairs),
        Comparison("way: reused − direct", "ms", summarise(differences(way[REUSED], way[DIRECT])), 1.0),
        Comparison("way: reused − SDK, kept client", "ms", summarise(differences(way[REUSED], way[SDK_REUSED]))),
    ]


def deltas_ms(timings: list[Timing]) -> list[float]:
    """Return how long each delta of each answer was on its way, in milliseconds."""
    return [ms for timing in timings for ms in timing.carried_ms]
