"""How a recorded answer is played again: what is sent, and when. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from cassettes.format import Entry

_OF_ONE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "content-length",
        "content-encoding",
        "trailer",
        "upgrade",
        "date",
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes that are sent at once, ``at_ms`` after the request came."""

    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Script:
    """What is sent for a request. ``head_ms``: when the status is sent, after the request came; None: never.

    ``is_stream``: whether the answer is sent piece by piece, else whole. ``is_cut``: whether the connection is cut at
    ``end_ms`` instead of ending cleanly; only then is there an answer without a head.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    head_ms: float | None
    end_ms: float
    is_stream: bool
    is_cut: bool = False


def script_of(entry: Entry, *, speed: float | None = 1.0, cut: bool = True) -> Script:
    """Return what an entry sends. ``speed``: how many times faster than recorded; None: all at once.

    What the app had cut is cut again after the last that was sent, or with ``cut=False`` ends cleanly there. What
    failed fails again: by an error in band, then a clean end, or by a cut when it was cut. Raises ValueError for an
    entry that was not answered, and for a speed that is none.
    """
    if entry.status is None:
        raise ValueError(f"the entry {entry.id} has no answer")
    if speed is not None and not speed > 0:
        raise ValueError(f"a speed is more than 0, not {speed}")
    factor = 0.0 if speed is None else 1.0 / speed
    # A file that was edited may tell times that go back.
    times = accumulate((chunk.at_ms * factor for chunk in entry.chunks), max)
    steps = tuple(Step(at_ms, chunk.data) for at_ms, chunk in zip(times, entry.chunks, strict=True))
    headers = tuple(
        (name, value)
        for name, values in entry.headers.items()
        if name.lower() not in _OF_ONE_CONNECTION
        for value in ([values] if isinstance(values, str) else values)
    )
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    last_ms = steps[-1].at_ms if steps else 0.0
    # How long it was silent before it failed is part of a failure; when an app left is the app's.
    end_ms = max(last_ms, entry.ms * factor) if entry.how in ("done", "failed") or not steps else last_ms
    return Script(
        status=entry.status,
        headers=headers,
        steps=steps,
        head_ms=steps[0].at_ms if steps else end_ms,
        end_ms=end_ms,
        is_stream=content_type.lower().startswith("text/event-stream"),
        is_cut=_was_cut(entry) and (cut or entry.how != "cut_by_app"),
    )


def _was_cut(entry: Entry) -> bool:
    # An error that the answer itself told is an object, and came before a clean end; a broken connection's is a text.
    told_in_band = entry.how == "failed" and isinstance(entry.error, Mapping)
    return entry.how != "done" and not told_in_band


def recut(script: Script, seed: int) -> Script:
    """Return a script that sends the same bytes in other pieces: cut anywhere, within lines and characters too.

    A piece comes when the last of its bytes had come. The same seed gives the same cuts.
    """
    if not script.is_stream or not script.steps:
        return script
    generator = random.Random(seed)  # noqa: S311 - nobody is kept from guessing it
    data = b"".join(step.data for step in script.steps)
    ends: list[tuple[int, float]] = []
    total = 0
    for step in script.steps:
        total += len(step.data)
        ends.append((total, step.at_ms))
    steps: list[Step] = []
    start = place = 0
    while start < len(data):
        # Mostly small pieces, where parsers break, and now and then several events at once.
        size = generator.randint(1, 12) if generator.random() < 0.7 else generator.randint(12, 400)
        end = min(start + size, len(data))
        while ends[place][0] < end:
            place += 1
        steps.append(Step(ends[place][1], data[start:end]))
        start = end
    return replace(script, steps=tuple(steps))


def split(script: Script) -> Script:
    """Return a script in which every line of an event stream, and every character beyond ASCII, comes in two pieces."""
    if not script.is_stream:
        return script
    steps: list[Step] = []
    for step in script.steps:
        start = 0
        for place, byte in enumerate(step.data):
            # Between the bytes of one character, between a line's field and its value, and between its CR LF.
            if place > start and (byte & 0xC0 == 0x80 or step.data[place - 1] == 0x3A or byte == 0x0A):
                steps.append(Step(step.at_ms, step.data[start:place]))
                start = place
        steps.append(Step(step.at_ms, step.data[start:]))
    return replace(script, steps=tuple(steps))
