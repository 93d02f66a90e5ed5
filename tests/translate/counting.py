"""Counts how often JSON is encoded and decoded, by whichever library and in whichever module."""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from translate import sse

PYTHON = {
    json.dumps.__code__: "encoded",
    json.loads.__code__: "decoded",
    sse.stream_bytes.__code__: "made SSE",
    sse.Reader.feed.__code__: "read SSE",
}


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count in this thread while the block runs: ``encoded``, ``decoded``, ``made SSE`` and ``read SSE``."""
    counts: Counter[str] = Counter()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code in PYTHON:
            counts[PYTHON[frame.f_code]] += 1
        elif event == "c_call":
            owner = getattr(arg, "__self__", None)
            if arg == msgspec.json.encode or (isinstance(owner, msgspec.json.Encoder) and arg.__name__ == "encode"):
                counts["encoded"] += 1
            elif arg == msgspec.json.decode or (isinstance(owner, msgspec.json.Decoder) and arg.__name__ == "decode"):
                counts["decoded"] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield counts
    finally:
        sys.setprofile(before)
