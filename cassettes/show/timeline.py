"""When the app received what: the wait, the first token, the speed, the stalls. Pure. Times: ms since the request.

The times are those of the chunks that the app received. An answer without streaming comes all at once. For it, the
times of Claude's events are used, and ``side`` is ``claude``.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from cassettes.assemble import events_of
from cassettes.format import Entry
from cassettes.show.answer import unwrapped
from cassettes.show.story import was_streamed

STALL_FACTOR = 10.0
STALL_MS = 250.0
"""A pause is a stall if it is longer than ten times the median pause, and longer than 250 ms, so that users see it."""
LONGEST_MS = 1e12

WIDTH = 24
LEVELS = "▁▂▃▄▅▆▇█"
WAIT = "▒"

# The fields of a chunk's delta that carry tokens.
_OF_A_DELTA = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio")


@dataclass(frozen=True, slots=True)
class Stall:
    """A long pause: its start, and its length."""

    at_ms: float
    ms: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of an exchange. None: it did not happen, or it is not known.

    ``first_chunk_ms``: the first bytes of the body, which may be a keep-alive comment. ``tokens_per_s``: the output
    tokens divided by the time from the first to the last token. ``offsets``: the times of all chunks with an event.
    """

    total_ms: float
    first_chunk_ms: float | None
    first_token_ms: float | None
    last_token_ms: float | None
    tokens_per_s: float | None
    stalls: tuple[Stall, ...]
    offsets: tuple[float, ...]
    side: Literal["app", "claude"] = "app"


def timeline(entry: Entry, output_tokens: int | None) -> Timeline:
    """Measure an entry."""
    first_chunk = entry.chunks[0].at_ms if entry.chunks else None
    if was_streamed(entry):
        reader = TokenReader()
        telling, tokens = [], []
        for chunk in entry.chunks:
            tells, has_token = reader.feed(chunk.data)
            if tells:
                telling.append(chunk.at_ms)
            if has_token:
                tokens.append(chunk.at_ms)
        return measure(telling, tokens, total_ms=entry.ms, first_chunk_ms=first_chunk, output_tokens=output_tokens)
    tokens = [event.at_ms for event in entry.events if is_claudes_token(event.value)]
    return measure(
        tokens, tokens, total_ms=entry.ms, first_chunk_ms=first_chunk, output_tokens=output_tokens, side="claude"
    )


def measure(
    offsets: Sequence[float],
    tokens: Sequence[float],
    *,
    total_ms: float,
    first_chunk_ms: float | None = None,
    output_tokens: int | None = None,
    side: Literal["app", "claude"] = "app",
) -> Timeline:
    """Return the timeline. ``offsets``: the times of all events. ``tokens``: the times of the events with a token."""
    offsets, tokens, total_ms = sound(offsets), sound(tokens), next(iter(sound([total_ms])), 0.0)
    spent_s = (tokens[-1] - tokens[0]) / 1000 if len(tokens) > 1 else 0.0
    return Timeline(
        total_ms=total_ms,
        first_chunk_ms=first_chunk_ms,
        first_token_ms=tokens[0] if tokens else None,
        last_token_ms=tokens[-1] if tokens else None,
        tokens_per_s=output_tokens / spent_s if output_tokens and spent_s > 0 else None,
        stalls=tuple(stalls(offsets, total_ms)),
        offsets=tuple(offsets),
        side=side,
    )


def sound(times: Iterable[float]) -> list[float]:
    """Return the plausible times, sorted. A cassette that was written by hand can have any numbers."""
    return sorted(at for at in times if 0 <= at <= LONGEST_MS)


def stalls(offsets: Sequence[float], total_ms: float) -> Iterable[Stall]:
    """Find the stalls between the events, and after the last event."""
    gaps = [Stall(before, after - before) for before, after in pairwise(offsets)]
    usual = statistics.median(gap.ms for gap in gaps) if gaps else 0.0
    if offsets:
        gaps.append(Stall(offsets[-1], total_ms - offsets[-1]))
    return [gap for gap in gaps if gap.ms > STALL_MS and gap.ms > STALL_FACTOR * usual]


class TokenReader:
    """Finds the chunks of an event stream that complete an event. Chunks can split an event anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bool, bool]:
        """Read a chunk. Return whether an event ends in it, and whether such an event has a token."""
        whole, separator, self._rest = (self._rest + data.replace(b"\r", b"")).rpartition(b"\n\n")
        tells = has_token = False
        for _, text in events_of(whole + separator) if separator else ():
            tells = True
            if not has_token:
                has_token = is_token(text)
        return tells, has_token


def is_token(data: str) -> bool:
    """Return whether an event's data has a part of the answer."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(event, Mapping):
        return False
    if isinstance(kind := event.get("type"), str):
        return kind.endswith(".delta") and bool(event.get("delta"))
    choices = event.get("choices")
    return isinstance(choices, list) and any(map(_brings, choices))


def _brings(choice: Any) -> bool:
    if not isinstance(choice, Mapping):
        return False
    delta = choice.get("delta")
    return bool(choice.get("text")) or (isinstance(delta, Mapping) and any(delta.get(name) for name in _OF_A_DELTA))


def is_claudes_token(event: Mapping[str, Any]) -> bool:
    """Return whether an event of Claude has a part of the answer."""
    return unwrapped(event).get("type") == "content_block_delta"


def span(ms: float) -> str:
    """Write a time: ``812 ms``, ``3.42 s``, ``2 min 05 s``; ``?`` if the value is not plausible."""
    if not sound([ms]):
        return "?"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 59_995:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds:02d} s"


def pace(tokens_per_s: float) -> str:
    """Write a speed: ``43 tok/s``, ``4.3 tok/s``."""
    return f"{tokens_per_s:.0f} tok/s" if tokens_per_s >= 10 else f"{tokens_per_s:.1f} tok/s"


def bar(measured: Timeline, width: int = WIDTH) -> str:
    """Draw a timeline in one line of text: the wait, then the amount of events over time, in ``width`` cells."""
    first = measured.offsets[0] if measured.offsets else measured.total_ms
    last = measured.offsets[-1] if measured.offsets else measured.total_ms
    end = max(last, measured.total_ms if measured.stalls else 0.0, first)
    cells = round(width * first / end) if end > 0 else 0
    waiting = min(max(cells, 1), width - 1 if measured.offsets else width)
    parts = [f"waiting {WAIT * waiting}"]
    if measured.first_token_ms is not None:
        whose = "Claude's first token" if measured.side == "claude" else "first token"
        parts.append(f"{whose} {span(measured.first_token_ms)}")
    elif measured.first_chunk_ms is not None:
        parts.append(f"first byte {span(measured.first_chunk_ms)}")
    pieces = [_levels(measured.offsets, first, end, width - waiting)] if len(measured.offsets) > 1 else []
    if measured.tokens_per_s is not None:
        pieces.append(pace(measured.tokens_per_s))
    parts += [" ".join(pieces)] if pieces else []
    parts += [f"stall {span(stall.ms)} @ {span(stall.at_ms)}" for stall in measured.stalls]
    return " | ".join([*parts, f"{span(measured.total_ms)} in all"])


def _levels(offsets: Sequence[float], first: float, end: float, width: int) -> str:
    """Draw the number of events in each of ``width`` equal intervals."""
    if end <= first:
        return LEVELS[-1]
    counts = [0] * width
    for at in offsets:
        counts[min(max(int((at - first) / (end - first) * width), 0), width - 1)] += 1
    most = max(counts)
    return "".join(LEVELS[round(count / most * (len(LEVELS) - 1))] for count in counts)
