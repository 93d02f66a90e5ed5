"""The Responses API beside Chat Completions, and conversations that we remember beside those that the app repeats.

Everything asks one rehearsal, in turn, round by round, each app behind a proxy of its own (:mod:`bench.first_token`).
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

# How each app is called (bench.app), and by what kind of process each of its answers after the first comes.
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
    """Measure every way ``rounds`` times, in turn, after one round that is not counted."""
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        api, base_url = await stack.enter_async_context(rehearsal(clean(home / "api")))
        asks = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
        yardsticks: dict[str, Yardstick] = {}
        for name, (kind, process) in APPS.items():
            app = await stack.enter_async_context(proxied_app(clean(home / kind) | asks, kind))
            # The first of all has nothing to go on from.
            await by_app(app, None if process is None else "warm")
            await line(api)
            yardsticks[name] = partial(by_app, app, process)
        return await interleaved(yardsticks, api, rounds)


def comparisons(timings: Timings) -> list[Comparison]:
    """Return what is quoted, taken round by round: each beside its likeness."""
    first = {name: [t.first_ms for t in them] for name, them in timings.items()}
    way = {name: deltas_ms(them) for name, them in timings.items()}
    alike = [(RESPONSES, CHAT), (UNSTORED, CHAT), (WEBSOCKET, CHAT), (PREVIOUS, CONTINUED), (SESSION, CONTINUED)]
    return [
        *(Comparison(f"first: {a} / {b}", "×", summarise(ratios(first[a], first[b])), 1.1) for a, b in alike),
        *(Comparison(f"way: {a} / {b}", "×", summarise(ratios(way[a], way[b])), 1.1) for a, b in alike),
    ]
