"""Lists a cassette: selects exchanges, writes a row for each, and adds up their usage."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from cassettes.outcome import DONE
from cassettes.show.cassette import Cassette, Glance, LookError, Row, glances, load
from cassettes.show.parts import Part
from cassettes.show.safe import one_line
from cassettes.show.story import story, tokens_of
from cassettes.show.timeline import span
from cassettes.usage import Usage, summary_usage, total
from translate.money import short

COLUMNS = (
    *("#", "time (UTC)", "request", "model", "in", "cached", "out", "USD", "first", "total", "status", "ended"),
    *("question", "answer"),
)
TO_THE_RIGHT = frozenset({"#", "in", "cached", "out", "USD", "first", "total", "status"})
WORDS = ("question", "answer")
MOST_WORDS = 60
"""The largest width of the columns question and answer."""

# The steps that make the lines fit the terminal: each shortens a column to this width, or leaves it out (0).
STEPS = (
    *(("answer", 28), ("question", 28), ("cached", 0), ("first", 0), ("in", 0), ("answer", 16), ("request", 0)),
    *(("out", 0), ("time (UTC)", 0), ("question", 20), ("answer", 0), ("USD", 0), ("total", 0), ("question", 10)),
    *(("model", 0), ("question", 0)),
)
GAP = "  "
SHORT = {  # short names for the most common endpoints
    "POST /v1/chat/completions": "chat",
    "POST /v1/responses": "responses",
    "POST /v1/completions": "completions",
}
STYLES = {"failed": "red", "interrupted": "yellow", "cut_by_app": "yellow"}
MAX_PROBLEMS = 50
_DATED = re.compile(r"-20\d{6}$", re.ASCII)
_TIME = re.compile(r"\d{4}-(\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """Conditions for the listed exchanges. An exchange must meet all of them.

    ``failed``: its outcome is not ``done``. ``grep``: the question or the answer matches this. ``model``: a part of the
    name of the requested or answering model, or a pattern with ``*``. ``slow_ms``: it took at least this long.
    """

    failed: bool = False
    grep: re.Pattern[str] | None = None
    model: str | None = None
    slow_ms: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Choice()


@dataclass(frozen=True, slots=True)
class Listed:
    """A listed exchange. ``used`` is None if nothing was used, or if the usage is not known."""

    row: Row
    glance: Glance
    used: Usage | None


def choose(cassette: Cassette, choice: Choice) -> list[Listed]:
    """Return the exchanges to list, in order. Check the conditions that need only the index first."""
    rows = [row for row in cassette.rows if _fits(row, choice)]
    found = zip(rows, glances(rows), strict=True)
    listed = [Listed(row, glance, summary_usage(row.summary)) for row, glance in found]
    return [one for one in listed if _is_model(one, choice.model) and _says(one.row, choice.grep)]


def _fits(row: Row, choice: Choice) -> bool:
    summary = row.summary
    return (not choice.failed or summary.outcome != DONE) and (choice.slow_ms is None or summary.ms >= choice.slow_ms)


def _is_model(one: Listed, wanted: str | None) -> bool:
    if wanted is None:
        return True
    names = [name.lower() for name in (one.row.summary.model, answered(one)) if name]
    pattern = wanted.lower() if "*" in wanted else f"*{wanted.lower()}*"
    return any(fnmatchcase(name, pattern) for name in names)


def _says(row: Row, grep: re.Pattern[str] | None) -> bool:
    """Return whether the question or the answer matches. Only this check reads a whole exchange."""
    if grep is None:
        return True
    try:
        told = story(load(row)[0])
    except (LookError, RecursionError):
        return False
    parts = [*(part for message in told.request for part in message.parts)]
    parts += [part for choice in told.answer.choices for part in choice.parts]
    texts = [*map(_text, parts), told.answer.raw, told.error or ""]
    return any(grep.search(text) for text in texts)


def _text(part: Part) -> str:
    return f"{part.name} {part.text}" if part.name else part.text


def answered(one: Listed) -> str | None:
    """Return the model that answered an exchange, None if it is not known."""
    return one.glance.answered or (one.used.model if one.used is not None else None)


# Output as text


def list_lines(cassette: Cassette, choice: Choice, width: int | None) -> Iterator[Text]:
    """Write the list, a line with the totals, and the cassette's problems. ``width`` None: no limit."""
    listed = choose(cassette, choice)
    shown = [cells(one) for one in listed]
    if shown:
        if (widths := natural(shown)) != fitted(widths, width):
            shown = [cells(one, is_short=True) for one in listed]
            widths = fitted(natural(shown), width)
        yield Text(_laid_out(COLUMNS, widths), style="bold")
        for one, line in zip(listed, shown, strict=True):
            yield Text(_laid_out(line, widths), style=STYLES.get(one.row.summary.outcome, ""))
        if left_out := [name for name, column in zip(COLUMNS, widths, strict=True) if not column]:
            yield Text(f"too narrow for: {', '.join(left_out)} (--json has them)", style="dim")
    yield Text(summed_up(listed, len(cassette.rows)), style="dim")
    yield from problem_lines(cassette.problems())


def cells(one: Listed, *, is_short: bool = False) -> tuple[str, ...]:
    """Return the cells of an exchange, one text for each of COLUMNS. Each text is safe and has one line.

    ``is_short``: show only the answering model, with a short name.
    """
    summary, used = one.row.summary, one.used
    request = f"{summary.method} {summary.path}"
    who = models(summary.model, answered(one))
    if is_short:
        who = _DATED.sub("", (answered(one) or summary.model or "").removeprefix("claude-"))
    return (
        str(one.row.n),
        clock(summary.started),
        one_line(SHORT.get(request.partition("?")[0], request)),
        one_line(who),
        "" if used is None else str(used.input),
        "" if used is None else str(used.cached),
        "" if used is None else str(used.output),
        "" if used is None else cost(used),
        "" if one.glance.first_token_ms is None else span(one.glance.first_token_ms),
        span(summary.ms),
        "" if summary.status is None else str(summary.status),
        one_line(summary.outcome),
        one_line(summary.question),
        one_line(summary.answer),
    )


def cost(used: Usage) -> str:
    """Write the cost of an exchange. ``≈``: the cassette does not have Claude's own counts."""
    return f"{'≈' if used.is_estimated and used.cost_usd is not None else ''}{dollars(used.cost_usd)}"


def dollars(usd: float | None) -> str:
    """Write dollars: ``0.0412``, below a tenth of a cent ``0.000344``; ``?`` if the price is not known."""
    return "?" if usd is None else short(usd)


def clock(started: str) -> str:
    """Write the start time of an exchange: ``03-04 05:06:07``."""
    match = _TIME.match(started)
    return f"{match[1]} {match[2]}" if match else one_line(started)[:14]


def models(asked: str | None, answered: str | None) -> str:
    """Write the requested and the answering model. If they are the same, write it once."""
    return " → ".join(dict.fromkeys(name or "?" for name in (asked, answered or asked) if asked or answered))


def natural(shown: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns before they are fitted to the terminal."""
    widths = [max(map(cell_len, column)) for column in zip(COLUMNS, *shown, strict=True)]
    return [min(one, MOST_WORDS) if name in WORDS else one for name, one in zip(COLUMNS, widths, strict=True)]


def fitted(widths: Sequence[int], width: int | None) -> list[int]:
    """Make columns narrower or leave them out, by STEPS, until the lines fit the width. Return the new widths."""
    new = list(widths)
    for name, least in STEPS if width is not None else ():
        place = COLUMNS.index(name)
        if (too_much := _sum(new) - (width or 0)) > 0:
            new[place] = max(new[place] - too_much, min(new[place], least)) if least else 0
    # Give the space of columns that were left out to question and answer: first half of it to each, then the rest.
    for share in (2, 1) if width is not None else ():
        free = max((width or 0) - _sum(new), 0)
        for place in map(COLUMNS.index, WORDS):
            if new[place]:
                new[place] = min(widths[place], new[place] + min(free // share, max((width or 0) - _sum(new), 0)))
    return new


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (sum(map(bool, widths)) - 1)


def _laid_out(texts: Sequence[str], widths: Sequence[int]) -> str:
    out = []
    for name, text, width in zip(COLUMNS, texts, widths, strict=True):
        if width:
            cut = text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
            space = " " * (width - cell_len(cut))
            out.append(space + cut if name in TO_THE_RIGHT else cut + space)
    return GAP.join(out).rstrip()


def summed_up(listed: Sequence[Listed], of: int) -> str:
    """Write the totals: ``3 of 14 exchanges (1 failed), 1200 tokens in (81 % cached), …``."""
    sums = total(one.used for one in listed)
    failed = sum(one.row.summary.outcome != DONE for one in listed)
    count = f"{len(listed)} of {of}" if len(listed) != of else str(of)
    parts = [
        f"{count} exchange{'' if of == 1 else 's'}{f' ({failed} failed)' if failed else ''}",
        f"{sums.input} tokens in{f' ({100 * sums.cached / sums.input:.0f} % cached)' if sums.cached else ''}",
        f"{sums.output} out",
    ]
    if sums.cost_usd:
        parts.append(f"{dollars(sums.cost_usd)} USD")
    if sums.unpriced:
        parts.append(f"{'and ' if sums.cost_usd else ''}{sums.unpriced} of unknown price")
    return ", ".join(parts)


def problem_lines(problems: Sequence[str]) -> Iterator[Text]:
    """Write the problems of a cassette or an exchange."""
    if problems:
        yield Text(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}:", style="bold yellow")
    for problem in problems[:MAX_PROBLEMS]:
        yield Text(f"  {problem}", style="yellow")
    if len(problems) > MAX_PROBLEMS:
        yield Text(f"  … and {len(problems) - MAX_PROBLEMS} more", style="yellow")


# Output as JSON


def list_json(cassette: Cassette, choice: Choice) -> dict[str, Any]:
    """Return the list as JSON.

    Times are in ms. Unknown values are null. ``listed`` has the number of listed exchanges and of all exchanges.
    ``total`` is the usage of the listed ones. Its ``unpriced`` is the number of exchanges whose price is not known.
    ``cost_usd`` does not include these.
    """
    listed = choose(cassette, choice)
    sums = total(one.used for one in listed)
    return {
        "cassette": str(cassette.path),
        "exchanges": [_json(one) for one in listed],
        "listed": {
            "exchanges": len(listed),
            "of": len(cassette.rows),
            "failed": sum(one.row.summary.outcome != DONE for one in listed),
        },
        "total": {**dataclasses.asdict(sums), "cost_usd": sums.known_usd},
        "problems": cassette.problems(),
    }


def _json(one: Listed) -> dict[str, Any]:
    summary, used = one.row.summary, one.used
    return {
        "n": one.row.n,
        "id": summary.id,
        "file": one.row.file.name,
        "started": summary.started,
        "method": summary.method,
        "path": summary.path,
        "asked": summary.model,
        "answered": answered(one),
        "tokens": {
            **dataclasses.asdict(tokens_of(used, summary.usage, summary.claude_usage)),
            "cache_written": None if used is None else used.cache_written,
        },
        "web_searches": None if used is None else used.web_searches,
        "cost_usd": None if used is None else used.cost_usd,
        "is_estimated": used is not None and used.is_estimated,
        "first_token_ms": one.glance.first_token_ms,
        "total_ms": summary.ms,
        "status": summary.status,
        "ended": summary.outcome,
        "how": summary.how,
        "error": summary.error,
        "question": summary.question,
        "answer": summary.answer,
        "events": summary.events,
        "chunks": summary.chunks,
    }
