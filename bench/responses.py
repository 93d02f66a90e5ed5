"""Compares the Responses API with Chat Completions, and stored conversations with those that the app sends again.

All ask the same simulated API, alternately, round by round. Each app has its own proxy (:mod:`bench.first_token`).
"""

import contextlib
import tempfile
from functools import partial
from pathlib import Path

from bench.first_token import (
    Comparison,
    Timings,
    Yardstick,
    by_app,
    clean,
    deltas_ms,
    interleaved,
    line,
    proxied_app,
    rehearsal,
)
from bench.statistics import ratios, summarise

CHAT = "chat"
RESPONSES = "responses"
UNSTORED = "responses, not stored"
WEBSOCKET = "responses, WebSocket"
CONTINUED = "chat, continued by the app"
PREVIOUS = "responses, by previous_response_id"
SESSION = "chat, by session"

# The name of each app (bench.app), and the kind of process that gives all its answers after the first.
APPS: dict[str, tuple[str, str | None]] = {
    CHAT: ("openai", "reused"),
    RESPONSES: ("openai-responses", "reused"),
    UNSTORED: ("openai-unstored", "reused"),
    WEBSOCKET: ("openai-websocket", None),
    CONTINUED: ("openai-continued", "continued"),
    PREVIOUS: ("openai-previous", "continued"),
    SESSION: ("openai-session", "continued"),
}


async def measure(rounds: int) -> Timings:
    """Measure all ways alternately, ``rounds`` times, after one round that is not counted."""
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        api, base_url = await stack.enter_async_context(rehearsal(clean(home / "api")))
        asks = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
        yardsticks: dict[str, Yardstick] = {}
        for name, (kind, process) in APPS.items():
            app = await stack.enter_async_context(proxied_app(clean(home / kind) | asks, kind))
            # The first request has nothing to continue.
            await by_app(app, None if process is None else "warm")
            await line(api)
            yardsticks[name] = partial(by_app, app, process)
        return await interleaved(yardsticks, api, rounds)


def comparisons(timings: Timings) -> list[Comparison]:
    """Return the comparisons, round by round: each way with its counterpart."""
    first = {name: [t.first_ms for t in them] for name, them in timings.items()}
    way = {name: deltas_ms(them) for name, them in timings.items()}
    alike = [(RESPONSES, CHAT), (UNSTORED, CHAT), (WEBSOCKET, CHAT), (PREVIOUS, CONTINUED), (SESSION, CONTINUED)]
    return [
        *(Comparison(f"first: {a} / {b}", "×", summarise(ratios(first[a], first[b])), 1.1) for a, b in alike),
        *(Comparison(f"way: {a} / {b}", "×", summarise(ratios(way[a], way[b])), 1.1) for a, b in alike),
    ]
