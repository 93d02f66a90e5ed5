"""The script of a replayed answer: what is sent, and when. Pure."""

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
    """Bytes that are sent at once, ``at_ms`` milliseconds after the request arrived."""

    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is sent for a request, with times.

    ``head_ms``: when status and headers are sent, in ms since the request; None: never. ``is_stream``: send the answer
    piece by piece, not in one piece. ``is_cut``: close the connection at ``end_ms`` in the middle of the answer. Only
    such an answer can have no head.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    head_ms: float | None
    end_ms: float
    is_stream: bool
    is_cut: bool = False


def script_of(entry: Entry, *, speed: float | None = 1.0, cut: bool = True) -> Script:
    """Return the script of an entry. ``speed``: how many times faster than recorded; None: send all at once.

    If the app had disconnected, the answer is cut after the last recorded bytes. With ``cut=False`` it ends cleanly
    there. A recorded failure fails again in the same way: with an error event and a clean end, or with a cut. Raises
    ValueError if the entry has no answer, or if the speed is not above 0.
    """
    if entry.status is None:
        raise ValueError(f"the entry {entry.id} has no answer")
    if speed is not None and not speed > 0:
        raise ValueError(f"a speed is more than 0, not {speed}")
    factor = 0.0 if speed is None else 1.0 / speed
    # In an edited file the times may go back. Times here never do.
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
    # The pause before a failure belongs to the failure, so play it. The pause before an app disconnected does not.
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
    # An error in the answer itself is an object, and a clean end followed. The error of a broken connection is a text.
    told_in_band = entry.how == "failed" and isinstance(entry.error, Mapping)
    return entry.how != "done" and not told_in_band


def recut(script: Script, seed: int) -> Script:
    """Return a script that sends the same bytes in other pieces, cut anywhere, also within lines and characters.

    Each piece gets the time of its last byte. The same seed gives the same cuts.
    """
    if not script.is_stream or not script.steps:
        return script
    generator = random.Random(seed)  # noqa: S311 - it need not be secret
    data = b"".join(step.data for step in script.steps)
    ends: list[tuple[int, float]] = []
    total = 0
    for step in script.steps:
        total += len(step.data)
        ends.append((total, step.at_ms))
    steps: list[Step] = []
    start = place = 0
    while start < len(data):
        # Mostly small pieces, because these break parsers. Sometimes several events at once.
        size = generator.randint(1, 12) if generator.random() < 0.7 else generator.randint(12, 400)
        end = min(start + size, len(data))
        while ends[place][0] < end:
            place += 1
        steps.append(Step(ends[place][1], data[start:end]))
        start = end
    return replace(script, steps=tuple(steps))


def split(script: Script) -> Script:
    """Return a script that sends every line of an event stream, and every non-ASCII character, in two pieces."""
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
