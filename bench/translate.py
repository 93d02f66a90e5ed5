"""What translation itself costs: pure functions, no I/O."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.statistics import Summary, summarise
from translate import sse
from translate.chat.completion import fold
from translate.chat.request import translate_request
from translate.chat.stream import ChatCompletionStream
from translate.chat.wire import ChatCompletionChunk
from translate.request_body import decode_object

DELTAS = 2000
MESSAGES = 200


@dataclass(frozen=True, slots=True)
class Row:
    """What one piece of work takes, in microseconds. ``unit`` is what is counted; ``aim_us`` None: none is set."""

    name: str
    unit: str
    us: Summary
    aim_us: float | None


def events() -> list[dict[str, Any]]:
    """Return the events of an answer of many small deltas, as the SDK hands them over."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    return [
        {"type": "message_start", "message": {"model": "claude-haiku-4-5", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word {n} "}}
            for n in range(DELTAS)
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": DELTAS}},
    ]


def conversation() -> bytes:
    """Return a request of many messages: a system prompt, then turns, the user's first and last."""
    turns = [
        {"role": ("user", "assistant")[n % 2], "content": f"message {n}: " + "words " * 40} for n in range(MESSAGES - 1)
    ]
    messages = [{"role": "system", "content": "Be brief."}, *turns]
    return json.dumps({"model": "gpt-4o", "messages": messages, "temperature": 0.5}).encode()


def translated(raw: list[dict[str, Any]]) -> list[ChatCompletionChunk]:
    """Feed events to the stream machine; return the chunks."""
    machine = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True)
    return [chunk for event in raw for chunk in machine.feed(event)]


def encoded(raw: list[dict[str, Any]]) -> list[bytes]:
    """Feed events to the stream machine; return the bytes that an app gets."""
    machine = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True)
    return [sse.stream_bytes([sse.event(chunk)]) for event in raw for chunk in machine.feed(event)]


def measure(rounds: int) -> list[Row]:
    """Measure each piece of work ``rounds`` times, in turn."""
    raw, request = events(), conversation()
    chunks = translated(raw)
    work: dict[str, tuple[Callable[[], object], int, str, float | None]] = {
        "stream and SSE": (lambda: encoded(raw), len(chunks), "chunk", 15),
        "stream alone": (lambda: translated(raw), len(chunks), "chunk", None),
        "fold": (lambda: fold(chunks), len(chunks), "chunk", None),
        f"{MESSAGES} messages": (lambda: translate_request(decode_object(request)), 1, "request", 2000),
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (function, units, _, _) in work.items():
            us = microseconds(function) / units
            if number:
                taken[name].append(us)
    return [Row(name, unit, summarise(taken[name]), aim) for name, (_, _, unit, aim) in work.items()]


def microseconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6
