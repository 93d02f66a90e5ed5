"""Measures what recording costs: ``PYTHONPATH=. python tests/cassettes/record/measure_recording.py``."""

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random

from cassettes.index import Index, load
from cassettes.read import read
from cassettes.record.record import Fsync, Recorder

KEY = "sk-proj-Zk3" + "x7Qm" * 12
HEADERS = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]


def main() -> None:
    """Record exchanges of a chat's shape into a folder that is removed again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, default=20)
    parser.add_argument("--chunks", type=int, default=500, help="chunks of one exchange, and as many events")
    parser.add_argument("--fsync", choices=["never", "entry", "event"], default="never")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measured.jsonl")
        measure_writing(path, arguments.exchanges, arguments.chunks, arguments.fsync)
        measure_reading(path)
        for name, body in large_bodies().items():
            asyncio.run(measure_stall(Path(folder, "large.jsonl"), name, body))


def large_bodies() -> dict[str, bytes]:
    """Make bodies that take long to look through, of 10 MiB and, where each piece looks like a secret, of 256 KiB."""
    random = Random(1)
    words = [f"word{n}" for n in range(1000)]

    def asked(text: str) -> bytes:
        return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()

    size = 10 * 1024 * 1024
    return {
        "10 MiB of prose": asked(" ".join(random.choices(words, k=size // 8))[:size]),
        "10 MiB of base64": asked(b64encode(random.randbytes(size * 3 // 4)).decode()),
        "10 MiB of numbers": b'{"messages": [' + b"1, " * (size // 3) + b"1]}",
        "10 MiB of messages": b'{"messages": ['
        + b", ".join([b'{"role": "user", "content": "What is it?"}'] * (size // 45))
        + b"]}",
        "256 KiB of -eyJ": asked("-eyJ" * (64 * 1024)),
        "10 MiB of -eyJ": asked("-eyJ" * (size // 4)),
    }


async def measure_stall(path: Path, name: str, body: bytes) -> None:
    """Print how long a body takes to record, and the longest time that the event loop stood still meanwhile."""
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(time.perf_counter())
            await asyncio.sleep(0.001)

    beating = asyncio.create_task(beat())
    with Recorder(path, beside=True) as recorder:
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        recording = recorder.begin("POST", "/v1/chat/completions", HEADERS, body)
        recording.end("done")
        await asyncio.to_thread(recording.wait)
        taken = time.perf_counter() - began
        await asyncio.sleep(0.01)
    beating.cancel()
    gaps = [after - before for before, after in itertools.pairwise(beats)]
    print(f"{name:20} {taken:7.2f} s, longest stall {max(gaps) * 1e3:7.1f} ms")


def measure_writing(path: Path, exchanges: int, chunks: int, fsync: Fsync) -> None:
    """Print what a chunk, an event, a beginning and an end cost."""
    costs: dict[str, list[float]] = {"begin": [], "event": [], "chunk": [], "end": []}
    body = json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "A story, please. " * 100}]}
    ).encode()
    with Recorder(path, fsync=fsync) as recorder:
        for _ in range(exchanges):
            recording = _timed(costs["begin"], recorder.begin, "POST", "/v1/chat/completions", HEADERS, body)
            for at in range(chunks):
                text = f" word{at % 97}s"
                event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
                _timed(costs["event"], recording.event, at, event)
                _timed(costs["chunk"], recording.chunk, at, _chunk(text))
            _timed(costs["end"], recording.end, "done")
    for what, seconds in costs.items():
        median, mean = statistics.median(seconds) * 1e6, statistics.fmean(seconds) * 1e6
        slow = statistics.quantiles(seconds, n=100)[-1] * 1e6 if len(seconds) > 1 else median
        print(f"{what:6} {median:9.1f} µs median, {mean:9.1f} mean, {slow:9.1f} 99th percentile")


def measure_reading(path: Path) -> None:
    """Print how fast a cassette is read whole, indexed anew, and listed."""
    size = path.stat().st_size / 1e6
    seconds: list[float] = []
    _timed(seconds, lambda: sum(1 for _ in read(path)))
    _timed(seconds, lambda: list(Index(path)))
    for index in path.with_name(path.name + ".d").glob("*.index"):
        index.unlink()
    _timed(seconds, load, path)
    for what, taken in zip(("read whole", "list", "index anew"), seconds, strict=True):
        print(f"{what:10} {size:.1f} MB in {taken * 1e3:.1f} ms, {size / taken:.0f} MB/s")


def _chunk(text: str) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-8f14e45fceea167a5a36dedd4bea2543",
        "object": "chat.completion.chunk",
        "created": 1700000000,
    }
    return (
        b"data: "
        + json.dumps({**chunk, "model": "gpt-4o", "choices": [delta]}, separators=(",", ":")).encode()
        + b"\n\n"
    )


def _timed[**P, R](into: list[float], call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    before = time.perf_counter()
    result = call(*arguments, **named)
    into.append(time.perf_counter() - before)
    return result


if __name__ == "__main__":
    main()
