"""`understudy show`: a cassette as a list, or one of its exchanges as a conversation."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from looking.answer import Choice
from looking.cassette import Cassette, Glance, Row, glances
from looking.parts import Part, Said
from looking.safe import one_line, pieces, safe_json
from looking.story import Story, Tokens, tokens_of
from looking.timeline import Timeline, bar, span
from tape.usage import summary_usage
from tape.usage import total as usage_total

COLUMNS = ("#", "time (UTC)", "request", "model", "in", "out", "USD", "first", "total", "status", "ended")
TO_THE_RIGHT = frozenset({"#", "in", "out", "USD", "first", "total", "status"})
# What is cut to which width, step by step, where the lines would be wider than the terminal; 0: it is left out.
STEPS = (("model", 24), ("request", 12), ("USD", 0), ("in", 0), ("out", 0), ("model", 12), ("request", 8))
GAP = "  "
_TIME = re.compile(r"\d{4}-(\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", re.ASCII)
MAX_PROBLEMS = 50
MAX_ODD = 2000
"""So many characters are shown of what is neither text nor a known kind of part."""

STYLES = {"failed": "red", "interrupted": "yellow", "cut_by_app": "yellow"}
ROLES = {"system": "magenta", "developer": "magenta", "user": "cyan", "assistant": "green", "tool": "blue"}
SOURCES = {
    "message": "",
    "chunks": "put together from its chunks",
    "events": "as Claude had begun it; the app did not get it",
    "none": "",
}

type Line = tuple[int, Text]
"""How far a line is indented, and what is on it."""


# A list


def list_lines(cassette: Cassette, width: int | None) -> Iterator[Text]:
    """Write a list of all exchanges, what they come to, and the cassette's problems. ``width`` None: any."""
    shown = [cells(row, glance) for row, glance in zip(cassette.rows, glances(cassette.rows), strict=True)]
    if shown:
        widths = fitted([max(map(cell_len, column)) for column in zip(COLUMNS, *shown, strict=True)], width)
        yield Text(_laid_out(COLUMNS, widths), style="bold")
        for row, line in zip(cassette.rows, shown, strict=True):
            yield Text(_laid_out(line, widths), style=style_of(row.summary.how, row.summary.status))
    yield Text(total(cassette.rows), style="dim")
    yield from problem_lines(cassette.problems())


def style_of(how: str, status: int | None) -> str:
    """Return the style of an exchange that ended so: one that went well has none."""
    return STYLES.get(how, "red" if status is not None and status >= 400 else "")


def cells(row: Row, glance: Glance) -> tuple[str, ...]:
    """Return what a list shows of an exchange, one text for each of COLUMNS; each is safe and one line."""
    summary = row.summary
    used = summary_usage(summary)
    return (
        str(row.n),
        clock(summary.started),
        one_line(f"{summary.method} {summary.path}"),
        one_line(models(summary.model, glance.answered)),
        "" if used is None else str(used.input),
        "" if used is None else str(used.output),
        "" if used is None else dollars(used.cost_usd),
        "" if glance.first_token_ms is None else span(glance.first_token_ms),
        span(summary.ms),
        number(summary.status),
        one_line(summary.how),
    )


def clock(started: str) -> str:
    """Write when an exchange began: ``03-04 05:06:07``."""
    match = _TIME.match(started)
    return f"{match[1]} {match[2]}" if match else one_line(started)[:14]


def models(asked: str | None, answered: str | None) -> str:
    """Write who was asked and who answered, once if they are the same."""
    return " → ".join(dict.fromkeys(name or "?" for name in (asked, answered or asked) if asked or answered))


def number(value: int | None) -> str:
    """Write a count, nothing where there is none."""
    return "" if value is None else str(value)


def dollars(cost_usd: float | None) -> str:
    """Write what something used costs; a question mark where its price is not known."""
    return "?" if cost_usd is None else f"{cost_usd:.4f}"


def fitted(widths: list[int], width: int | None) -> list[int]:
    """Make columns narrower, or leave them out, until the lines have the width or nothing more can be done."""
    for name, least in STEPS if width is not None else ():
        too_much = sum(widths) + len(GAP) * (sum(map(bool, widths)) - 1) - (width or 0)
        place = COLUMNS.index(name)
        if too_much > 0:
            widths[place] = max(widths[place] - too_much, min(widths[place], least)) if least else 0
    return widths


def _laid_out(texts: Sequence[str], widths: Sequence[int]) -> str:
    out = []
    for name, text, width in zip(COLUMNS, texts, widths, strict=True):
        if width:
            cut = text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
            space = " " * (width - cell_len(cut))
            out.append(space + cut if name in TO_THE_RIGHT else cut + space)
    return GAP.join(out).rstrip()


def total(rows: Sequence[Row]) -> str:
    """Say what all exchanges come to."""
    used = usage_total(summary_usage(row.summary) for row in rows)
    parts = [f"{len(rows)} exchange{'' if len(rows) == 1 else 's'}", f"{used.input} tokens in, {used.output} out"]
    if used.cost_usd:
        parts.append(f"{used.cost_usd:.4f} USD")
    if used.unpriced:
        parts.append(f"{'and ' if used.cost_usd else ''}{used.unpriced} of unknown price")
    return ", ".join(parts)


def problem_lines(problems: Sequence[str]) -> Iterator[Text]:
    """Name what is wrong with a cassette or an exchange."""
    if problems:
        yield Text(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}:", style="bold yellow")
    for problem in problems[:MAX_PROBLEMS]:
        yield Text(f"  {problem}", style="yellow")
    if len(problems) > MAX_PROBLEMS:
        yield Text(f"  … and {len(problems) - MAX_PROBLEMS} more", style="yellow")


def list_json(cassette: Cassette) -> dict[str, Any]:
    """Return the list for programs.

    Times in ms; null where nobody told. The ``cost_usd`` of the ``total`` leaves out the ``unpriced``: the exchanges,
    of which that is the number, whose price is not known.
    """
    rows = zip(cassette.rows, glances(cassette.rows), strict=True)
    return {
        "cassette": str(cassette.path),
        "exchanges": [_row_json(row, glance) for row, glance in rows],
        "total": dataclasses.asdict(usage_total(summary_usage(row.summary) for row in cassette.rows)),
        "problems": cassette.problems(),
    }


def _row_json(row: Row, glance: Glance) -> dict[str, Any]:
    summary = row.summary
    used = summary_usage(summary)
    return {
        "n": row.n,
        "id": summary.id,
        "file": row.file.name,
        "started": summary.started,
        "method": summary.method,
        "path": summary.path,
        "asked": summary.model,
        "answered": glance.answered,
        "tokens": {
            **dataclasses.asdict(tokens_of(used, summary.usage, summary.claude_usage)),
            "cache_written": None if used is None else used.cache_written,
        },
        "web_searches": None if used is None else used.web_searches,
        "cost_usd": None if used is None else used.cost_usd,
        "first_token_ms": glance.first_token_ms,
        "total_ms": summary.ms,
        "status": summary.status,
        "ended": summary.how,
        "events": summary.events,
        "chunks": summary.chunks,
    }


# One exchange


def story_lines(row: Row, of: int, told: Story, measured: Timeline, problems: Sequence[str]) -> Iterator[Line]:
    """Write an exchange as a conversation. ``of``: how many the cassette has."""
    yield 0, Text(f"exchange {row.n} of {of}: {one_line(told.id)}", style="bold")
    for line in _about(told):
        yield 0, Text(one_line(line))
    yield 0, Text(bar(measured), style="cyan")
    for what, values in (("tools", list(told.tools)), ("parameters", told.parameters), ("Claude's", told.turn)):
        if values:
            yield 0, Text(f"{what}: {_listed(values)}", style="dim")
    yield from _messages(told)
    yield from answer_lines(told)
    yield from ((0, line) for line in problem_lines(problems))


def request_lines(told: Story) -> Iterator[Line]:
    """Write what was asked."""
    yield 0, Text(one_line(told.asked or "no model"), style="bold")
    for what, values in (("tools", list(told.tools)), ("parameters", told.parameters)):
        if values:
            yield 0, Text(f"{what}: {_listed(values)}", style="dim")
    yield from _messages(told)


def about_lines(told: Story, drawn: str) -> Iterator[Line]:
    """Write who answered, what it cost, what Claude was asked, and when what came (``drawn``: a timeline)."""
    yield 0, Text()
    for line in [*_facts(told), drawn, *([f"Claude's: {_listed(told.turn)}"] if told.turn else [])]:
        yield 0, Text(one_line(line), style="dim")


def _messages(told: Story) -> Iterator[Line]:
    role = ""
    for message in told.request:
        yield from _message(message, with_role=message.role != role)
        role = message.role


def _about(told: Story) -> Iterator[str]:
    status = "no answer was begun" if told.status is None else str(told.status)
    yield f"{told.method} {told.path}, {told.started}: {status}, {told.how}"
    yield from _facts(told)


def _facts(told: Story) -> Iterator[str]:
    facts = [models(told.asked, told.answered), *_counted(told.tokens)]
    facts += [] if told.cost_usd is None else [f"{told.cost_usd:.6f} USD"]
    facts += ["price unknown"] if told.is_unpriced else []
    facts += [f"{told.process} process"] if told.process else []
    facts += [f"{told.turns} turns"] if told.turns > 1 else []
    if line := ", ".join(fact for fact in facts if fact):
        yield line


def _counted(tokens: Tokens) -> Iterator[str]:
    if tokens.input is not None:
        yield f"{tokens.input} tokens in" + (f" ({tokens.cached} from the cache)" if tokens.cached else "")
    if tokens.output is not None:
        yield f"{tokens.output} out" + (f" ({tokens.reasoning} of them reasoning)" if tokens.reasoning else "")


def _listed(values: Any) -> str:
    if isinstance(values, list):
        return ", ".join(map(one_line, values))
    return ", ".join(f"{one_line(name)} {_short(safe_json(value, indent=None))}" for name, value in values.items())


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"


def _message(message: Said, *, with_role: bool) -> Iterator[Line]:
    if with_role:
        yield 0, Text()
        yield 0, Text(one_line(message.role), f"bold {ROLES.get(message.role, 'white')}")
    for part in message.parts:
        yield from part_lines(part)


def part_lines(part: Part) -> Iterator[Line]:
    """Write one part of a message, indented."""
    match part.kind:
        case "text":
            yield 2, shown(part.text)
        case "reasoning":
            yield 2, shown(f"(reasoning) {part.text}", "italic dim")
        case "refusal":
            yield 2, shown(f"(refusal) {part.text}", "yellow")
        case "tool_call":
            yield 2, _with_id(f"→ {one_line(part.name)}({part.text})", part)
        case "tool_result":
            yield 2, _with_id(f"← {one_line(part.name)}" if part.name else "←", part)
            yield 4, shown(part.text)
        case _:
            name = f" {one_line(part.name)}" if part.name else ""
            yield 2, shown(f"[{part.kind}{name}: {_short(part.text, MAX_ODD)}]", "blue")


def _with_id(text: str, part: Part) -> Text:
    line = shown(text, "bold blue" if part.kind == "tool_call" else "blue")
    space = "  " if part.name or (part.text and part.kind == "tool_call") else " "
    return line.append_text(Text(f"{space}{one_line(part.id)}", style="dim")) if part.id else line


def answer_lines(told: Story) -> Iterator[Line]:
    """Write what was answered."""
    answer = told.answer
    for place, choice in enumerate(answer.choices, start=1):
        yield 0, Text()
        yield 0, Text(one_line(_title(told, choice, place)), style="bold green")
        for part in choice.parts:
            yield from part_lines(part)
    if answer.raw:
        yield 0, Text()
        yield 0, Text("body of the answer", style="bold green")
        yield 2, shown(answer.raw)
    if not answer.choices and not answer.raw:
        yield 0, Text()
        yield 0, Text("no answer", style="bold yellow")
    if told.error is not None:
        yield 0, shown(f"error: {told.error}", "bold red")
    for what in told.left_out:
        yield 0, shown(f"left out: {what}", "yellow")


def _title(told: Story, choice: Choice, place: int) -> str:
    several = f" {place} of {len(told.answer.choices)}" if len(told.answer.choices) > 1 else ""
    about = [choice.ended, SOURCES[told.answer.source], "" if told.how == "done" else told.how]
    known = ", ".join(word for word in about if word)
    return f"answer{several} ({known})" if known else f"answer{several}"


def shown(text: str, style: str = "") -> Text:
    """Return somebody else's text for a terminal; what would have steered it is shown in reverse."""
    line = Text(style=style)
    for piece, is_escape in pieces(text):
        line.append(piece, style="reverse" if is_escape else None)
    return line


def story_json(row: Row, told: Story, measured: Timeline, problems: Sequence[str]) -> dict[str, Any]:
    """Return an exchange for programs."""
    return {
        "n": row.n,
        "file": row.file.name,
        **dataclasses.asdict(told),
        "timeline": dataclasses.asdict(measured),
        "problems": list(problems),
    }
