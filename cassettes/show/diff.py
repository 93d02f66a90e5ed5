"""`understudy diff`: compares two exchanges, or two cassettes exchange by exchange.

In requests, the differences that a replay ignores are ignored: ids, times, pseudonyms and fields about the user
(:mod:`cassettes.replay.match`). In answers, only the ids of tool calls are ignored. Different times are shown, but do
not count as a difference.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from cassettes.format import Entry
from cassettes.replay.match import A_AND_B, Matcher, body_of, difference
from cassettes.show.cassette import Cassette, LookError, Row, load, open_cassette
from cassettes.show.listing import models
from cassettes.show.parts import Part
from cassettes.show.safe import one_line, without_blobs
from cassettes.show.show import Line, shown
from cassettes.show.story import Story, story
from cassettes.show.timeline import Timeline, pace, span, timeline
from translate.money import exact

MAX_LINES = 200
COLOURS = {"-": "red", "+": "green"}

type Parsed = tuple[Path, str | None]


@dataclass(frozen=True, slots=True)
class Aspect:
    """The differences of two exchanges in one respect. ``lines`` is empty if there are none.

    ``counts``: whether these lines count as a difference.
    """

    name: str
    lines: tuple[str, ...]
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """Two compared exchanges. ``why``: the error if one could not be read. That counts as a difference too."""

    a: Row
    b: Row
    aspects: tuple[Aspect, ...] = ()
    why: str | None = None

    @property
    def differs(self) -> bool:
        """Whether they count as different."""
        return self.why is not None or any(aspect.counts and aspect.lines for aspect in self.aspects)


@dataclass(frozen=True, slots=True)
class Extra:
    """An exchange without a counterpart in the other cassette."""

    side: Literal["A", "B"]
    row: Row

    @property
    def differs(self) -> bool:
        """It always counts as different."""
        return True


def parse(text: str) -> Parsed:
    """Parse ``FILE``, ``FILE:N`` or ``FILE:ID``. If the whole text is an existing path, it is the file."""
    file, colon, which = text.rpartition(":")
    if colon and file and which and not Path(text).exists() and not set(which) & set("/\\"):
        return Path(file), which
    return Path(text), None


def compare(a: str, b: str, *, with_timing: bool = False) -> Iterator[Pair | Extra]:
    """Compare two exchanges or two cassettes. Yield each result as soon as it is known. Raises LookError."""
    (path_a, which_a), (path_b, which_b) = parse(a), parse(b)
    if (which_a is None) != (which_b is None):
        raise LookError(f"{one_line(a)} and {one_line(b)}: name an exchange of both (FILE:N), or of neither")
    cassette_a, cassette_b = open_cassette(path_a), open_cassette(path_b)
    if which_a is not None and which_b is not None:
        row_a, row_b = cassette_a.find(which_a), cassette_b.find(which_b)
        yield Pair(row_a, row_b, compared(load(row_a)[0], load(row_b)[0], with_timing=with_timing))
        return
    yield from _in_order(cassette_a, cassette_b, with_timing=with_timing)


def _in_order(a: Cassette, b: Cassette, *, with_timing: bool) -> Iterator[Pair | Extra]:
    """Compare exchange by exchange. If one cannot be read, continue with the next."""
    for row_a, row_b in zip_longest(a.rows, b.rows):
        if row_a is None or row_b is None:
            yield Extra("B", row_b) if row_a is None else Extra("A", row_a)
            continue
        try:
            yield Pair(row_a, row_b, compared(load(row_a)[0], load(row_b)[0], with_timing=with_timing))
        except LookError as error:
            yield Pair(row_a, row_b, why=str(error))


def compared(a: Entry, b: Entry, *, with_timing: bool = False) -> tuple[Aspect, ...]:
    """Compare two exchanges: request, turn, answer, outcome, usage and timing."""
    story_a, story_b = story(a), story(b)
    times_a, times_b = timeline(a, story_a.tokens.output), timeline(b, story_b.tokens.output)
    return (
        Aspect("request", tuple(_requests(a, b))),
        Aspect("turn", tuple(_turns(a, b))),
        Aspect("answer", tuple(difference(_answer(story_a), _answer(story_b), A_AND_B))),
        Aspect("outcome", tuple(_fields(_outcome(story_a), _outcome(story_b)))),
        Aspect("usage", tuple(_fields(_usage(story_a), _usage(story_b)))),
        Aspect("timing", tuple(_fields(_times(times_a, a.process), _times(times_b, b.process))), counts=with_timing),
    )


def _requests(a: Entry, b: Entry) -> Iterator[str]:
    for name in ("method", "path"):
        yield from _field(name, getattr(a.request, name), getattr(b.request, name))
    matcher = Matcher(())
    one, other = (matcher.canonical(without_blobs(body_of(entry.request))) for entry in (a, b))
    yield from difference(one, other, A_AND_B)


def _turns(a: Entry, b: Entry) -> Iterator[str]:
    """Compare the Turns. One request may have needed several."""
    # The rules for requests ignore fields about the user. A Turn uses some of these names for other things, so the
    # default matcher is used.
    matcher = Matcher(())
    turns = [[turn for turn in (entry.turn, *entry.more_turns) if turn is not None] for entry in (a, b)]
    for place, (one, other) in enumerate(zip_longest(*turns), start=1):
        of = f"turn {place}: " if max(map(len, turns)) > 1 else ""
        if one is None or other is None:
            yield f"{of}only in {'B' if one is None else 'A'}"
        else:
            yield from (
                f"{of}{line}"
                for line in difference(
                    matcher.canonical(without_blobs(one)), matcher.canonical(without_blobs(other)), A_AND_B
                )
            )


def _answer(told: Story) -> dict[str, Any]:
    """Return the compared parts of an answer, by name."""
    several = len(told.answer.choices) > 1
    found: dict[str, Any] = {}
    for place, choice in enumerate(told.answer.choices, start=1):
        of = f"answer {place}: " if several else ""
        found[f"{of}finish reason"] = choice.ended or None
        for kind in ("text", "reasoning", "refusal"):
            found[f"{of}{kind}"] = choice.text(kind) or None
        found[f"{of}calls"] = [_call(part) for part in choice.parts if part.kind == "tool_call"] or None
        rest = [part.text for part in choice.parts if part.kind not in ("text", "reasoning", "refusal", "tool_call")]
        found[f"{of}other parts"] = rest or None
    found["body"] = told.answer.raw or None
    return found


def _call(part: Part) -> dict[str, Any]:
    return {"name": part.name, "arguments": Matcher(()).canonical(part.text)}


def _outcome(told: Story) -> dict[str, Any]:
    return {"status": told.status, "ended": told.outcome, "error": told.error, "answered by": told.answered}


def _usage(told: Story) -> dict[str, Any]:
    counts = {f"{name} tokens": count for name, count in dataclasses.asdict(told.tokens).items()}
    return {**counts, "USD": None if told.cost_usd is None else exact(told.cost_usd)}


def _times(measured: Timeline, process: str | None) -> dict[str, Any]:
    first, rate = measured.first_token_ms, measured.tokens_per_s
    return {
        "first token": None if first is None else span(first),
        "pace": None if rate is None else pace(rate),
        "total": span(measured.total_ms),
        "stalls": len(measured.stalls),
        "process": process,
    }


def _fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for name in a:
        yield from _field(name, a[name], b.get(name))


def _field(name: str, a: Any, b: Any) -> Iterator[str]:
    if a != b:
        yield f"{name}: {'-' if a is None else a} → {'-' if b is None else b}"


# Output as text and as JSON


def legend(a: str, b: str) -> Text:
    """Return the lines that say which file is A and which is B."""
    return Text(f"A (-): {one_line(a)}\nB (+): {one_line(b)}", style="dim")


def pair_lines(pair: Pair, *, is_one_of_many: bool) -> Iterator[Line]:
    """Write the differences of a pair. In a comparison of cassettes, a pair without differences gets one line."""
    indent = 0
    if is_one_of_many:
        indent = 2
        yield 0, Text(f"{_named(pair.a)}: {'different' if pair.differs else 'same'}", "bold" if pair.differs else "dim")
    elif not pair.differs:
        yield 0, Text("same", style="green")
    if pair.why is not None:
        yield indent, Text(pair.why, style="red")
    for aspect in pair.aspects:
        if not aspect.lines or (is_one_of_many and not pair.differs):
            continue
        yield indent, Text(aspect.name if aspect.counts else f"{aspect.name} (no difference by itself)", style="bold")
        for line in aspect.lines[:MAX_LINES]:
            yield indent + 2, shown(line, COLOURS.get(line.lstrip()[:1], "") if line.startswith("  ") else "")
        if len(aspect.lines) > MAX_LINES:
            yield indent + 2, Text(f"… and {len(aspect.lines) - MAX_LINES} more lines")


def _named(row: Row) -> str:
    return one_line(f"{row.n} {row.summary.method} {row.summary.path} {models(row.summary.model, None)}".rstrip())


def extra_line(extra: Extra) -> Text:
    """Write the line for an exchange without a counterpart."""
    return Text(f"{_named(extra.row)}: only in {extra.side} ({one_line(extra.row.summary.id)})", style="yellow")


def counted(found: Sequence[Pair | Extra]) -> str:
    """Return the counts of equal, different and unmatched exchanges."""
    counts = Counter(
        f"only in {one.side}" if isinstance(one, Extra) else "different" if one.differs else "the same" for one in found
    )
    return ", ".join(
        f"{counts[what]} {what}" for what in ("the same", "different", "only in A", "only in B") if counts[what]
    )


def as_json(a: str, b: str, found: Sequence[Pair | Extra]) -> dict[str, Any]:
    """Return a comparison as JSON."""
    return {
        "a": a,
        "b": b,
        "same": not any(one.differs for one in found),
        "pairs": [_pair_json(one) for one in found if isinstance(one, Pair)],
        "only_in_a": [_row_json(one.row) for one in found if isinstance(one, Extra) and one.side == "A"],
        "only_in_b": [_row_json(one.row) for one in found if isinstance(one, Extra) and one.side == "B"],
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "a": _row_json(pair.a),
        "b": _row_json(pair.b),
        "same": not pair.differs,
        "differences": {aspect.name: list(aspect.lines) for aspect in pair.aspects if aspect.lines},
        "error": pair.why,
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {"n": row.n, "id": row.summary.id}
