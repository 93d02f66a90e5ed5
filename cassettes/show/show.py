"""Writes one exchange as a conversation."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from cassettes.show.answer import Choice
from cassettes.show.cassette import Row
from cassettes.show.listing import models, problem_lines
from cassettes.show.parts import Part, Said
from cassettes.show.safe import one_line, pieces, safe_json
from cassettes.show.story import Story, Tokens
from cassettes.show.timeline import Timeline, bar
from translate.money import exact

MAX_ODD = 2000
"""The largest number of characters shown of a part that is neither text nor of a known kind."""

ROLES = {"system": "magenta", "developer": "magenta", "user": "cyan", "assistant": "green", "tool": "blue"}
SOURCES = {
    "message": "",
    "chunks": "put together from its chunks",
    "events": "as Claude had begun it; the app did not get it",
    "none": "",
}

type Line = tuple[int, Text]
"""The indent of a line, and its text."""


def story_lines(row: Row, of: int, told: Story, measured: Timeline, problems: Sequence[str]) -> Iterator[Line]:
    """Write an exchange as a conversation. ``of``: the number of exchanges in the cassette."""
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
    """Write the request: model, tools, parameters and messages."""
    yield 0, Text(one_line(told.asked or "no model"), style="bold")
    for what, values in (("tools", list(told.tools)), ("parameters", told.parameters)):
        if values:
            yield 0, Text(f"{what}: {_listed(values)}", style="dim")
    yield from _messages(told)


def about_lines(told: Story, drawn: str) -> Iterator[Line]:
    """Write the models, the cost, the settings of Claude's turn, and the timeline (``drawn``)."""
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
    yield f"{told.method} {told.path}, {told.started}: {status}, {told.outcome}"
    yield from _facts(told)


def _facts(told: Story) -> Iterator[str]:
    facts = [models(told.asked, told.answered), *_counted(told.tokens)]
    facts += [] if told.cost_usd is None else [f"{exact(told.cost_usd)} USD"]
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
    """Write the answer: its choices, or its body, and the error."""
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
    about = [choice.ended, SOURCES[told.answer.source], "" if told.outcome == "done" else told.outcome]
    known = ", ".join(word for word in about if word)
    return f"answer{several} ({known})" if known else f"answer{several}"


def shown(text: str, style: str = "") -> Text:
    """Return a recorded text for a terminal. Control characters are shown as escapes, in reverse colours."""
    line = Text(style=style)
    for piece, is_escape in pieces(text):
        line.append(piece, style="reverse" if is_escape else None)
    return line


def story_json(row: Row, told: Story, measured: Timeline, problems: Sequence[str]) -> dict[str, Any]:
    """Return an exchange as JSON."""
    return {
        "n": row.n,
        "file": row.file.name,
        **dataclasses.asdict(told),
        "timeline": dataclasses.asdict(measured),
        "problems": list(problems),
    }
