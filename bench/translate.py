"""What translation itself costs: pure functions, no I/O."""

import json
import time
from collections.abc import Callable
from typing import Any

from bench.statistics import Summary, summarise
from translate import sse
from translate.completion import fold
from translate.request import translate_request
from translate.stream import ChatCompletionStream

DELTAS = 2000
TURNS = 200


def events() -> list[dict[str, Any]]:
    """Return the events of an answer of many small deltas."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    return [
        {"type": "message_start", "message": {"model": "claude-haiku-5-5", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word {n} "}}
            for n in range(DELTAS)
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": DELTAS}},
    ]


def conversation() -> bytes:
    """Return a request of many messages."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": f"message {n}: " + "words " * 40} for n in range(TURNS - 1)]
    return json.dumps({"model": "gpt-4o", "messages": messages, "temperature": 0.5}).encode()


def measure(rounds: int) -> dict[str, Summary]:
    """Return microseconds: a chunk translated and encoded, a chunk folded, a conversation translated."""
    raw, request = events(), conversation()

    def stream() -> list[Any]:
        machine = ChatCompletionStream(id="chatcmpl-1", created=1, model="gpt-4o", include_usage=True)
        return [chunk for event in raw for chunk in machine.feed(event)]

    chunks = stream()
    return {
        "stream: µs a chunk (aim: < 15)": timed(lambda: [sse.event(chunk) for chunk in stream()], len(chunks), rounds),
        "fold: µs a chunk": timed(lambda: fold(chunks), len(chunks), rounds),
        f"request of {TURNS - 1} messages: µs (aim: < 2000)": timed(lambda: translate_request(request), 1, rounds),
    }


def timed(work: Callable[[], object], units: int, rounds: int) -> Summary:
    """Return how many microseconds a unit of the work takes."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) / units * 1e6)
    return summarise(taken)
