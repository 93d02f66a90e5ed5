"""How a recorded answer is played again: what is sent, and when. Pure."""

import random
from dataclasses import dataclass, replace

from tape.format import Entry

_OF_ONE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
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
    """What is sent for a request. ``head_ms``: when the status is sent, after the request came.

    ``is_stream``: whether the answer is sent piece by piece, else whole. ``is_cut``: whether the connection is cut at
    ``end_ms`` instead of ending cleanly.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    head_ms: float
    end_ms: float
    is_stream: bool
    is_cut: bool = False


def script_of(entry: Entry, *, speed: float | None = 1.0) -> Script:
    """Return what an entry sends. ``speed``: how many times faster than recorded; None: all at once.

    What was cut when it was recorded is cut again, after the last that was sent. Raises ValueError for an entry that
    was not answered.
    """
    if entry.status is None:
        raise ValueError(f"the entry {entry.id} has no answer")
    factor = 0.0 if speed is None else 1.0 / speed
    steps = tuple(Step(chunk.at_ms * factor, chunk.data) for chunk in entry.chunks)
    headers = tuple(
        (name, value)
        for name, values in entry.headers.items()
        if name.lower() not in _OF_ONE_CONNECTION
        for value in ([values] if isinstance(values, str) else values)
    )
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    is_stream = content_type.startswith("text/event-stream")
    return Script(
        status=entry.status,
        headers=headers,
        steps=steps,
        head_ms=steps[0].at_ms if steps else entry.ms * factor,
        end_ms=max((step.at_ms for step in steps), default=0.0) if entry.how != "done" else entry.ms * factor,
        is_stream=is_stream,
        is_cut=entry.how != "done" and (is_stream or not steps),
    )


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
