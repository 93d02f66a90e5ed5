"""The grammar of streams of chunks: chat completions, and legacy completions.

Source: recorded streams. Each chunk repeats the head of the answer. Each choice begins once and ends once. If the app
has asked for the usage, it comes once, after all choices. ``[DONE]`` ends the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from conform.exchange import DONE, NOT_JSON, Event, Exchange, Problem, short

HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
"""The keys that have the same value in all chunks of an answer."""


@dataclass
class Choice:
    """One choice: the sum of its chunks so far."""

    role: str | None = None
    text: str = ""
    refusal: str = ""
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None


def check_chunks(exchange: Exchange) -> Iterator[Problem]:
    """Check a stream of chunks from its first event to its end."""
    events = exchange.events
    yield from _end(events)
    chunks = [(n, event.fields) for n, event in enumerate(events) if event.data != DONE]
    for n, event in enumerate(events):
        if event.name is not None:
            yield Problem(f"event {n}", f"a line event: {event.name}", "data: lines alone")
        if event.data != DONE and event.value is NOT_JSON:
            yield Problem(f"event {n}", short(event.data), "JSON")
    chunks = [(n, chunk) for n, chunk in chunks if "choices" in chunk]
    if not chunks:
        if not any("error" in event.fields for event in events):
            yield Problem("the stream", f"{len(events)} events without choices", "chunks")
        return
    yield from _heads(chunks)
    yield from _usage(exchange, chunks)
    yield from _choices(exchange, chunks, failed=any("error" in event.fields for event in events))


def folded(exchange: Exchange) -> dict[int, Choice]:
    """Return the sum of the deltas of each choice."""
    choices: dict[int, Choice] = {}
    for event in exchange.events:
        for part in _list(event.fields.get("choices")):
            choice = choices.setdefault(part.get("index", 0), Choice())
            _add(choice, part)
    return choices


def _end(events: tuple[Event, ...]) -> Iterator[Problem]:
    marks = [n for n, event in enumerate(events) if event.data.strip() == DONE]
    if not marks:
        yield Problem("the end", "no data: [DONE]", "data: [DONE] as the last event of every recorded stream")
    elif len(marks) > 1 or marks[0] != len(events) - 1:
        yield Problem(f"event {marks[0]}", "data: [DONE] before the end", "data: [DONE] once, as the last event")


def _heads(chunks: list[tuple[int, dict[str, Any]]]) -> Iterator[Problem]:
    """Each chunk has the same head as the first."""
    _, first = chunks[0]
    for key in HEAD:
        for n, chunk in chunks[1:]:
            if chunk.get(key) != first.get(key):
                yield Problem(f"event {n} $.{key}", short(chunk.get(key)), f"{short(first.get(key))}, as in the first")
                break


def _usage(exchange: Exchange, chunks: list[tuple[int, dict[str, Any]]]) -> Iterator[Problem]:
    """If the app asked for the usage, only the last chunk has it. That chunk has no choices. Else no chunk has it."""
    if exchange.request is None:
        return
    asked = bool((exchange.asked.get("stream_options") or {}).get("include_usage"))
    told = [(n, chunk) for n, chunk in chunks if chunk.get("usage") is not None]
    if not asked:
        for n, _ in told:
            yield Problem(f"event {n} $.usage", "usage", "no usage, since stream_options did not ask for it")
        return
    last, chunk = chunks[-1]
    if chunk.get("usage") is None or chunk["choices"]:
        yield Problem(f"event {last}", short(chunk), "a last chunk with usage and without choices")
    for n, _ in told:
        if n != last:
            yield Problem(f"event {n} $.usage", "usage", "null in every chunk but the last")


def _choices(exchange: Exchange, chunks: list[tuple[int, dict[str, Any]]], *, failed: bool) -> Iterator[Problem]:
    choices: dict[int, Choice] = {}
    for n, chunk in chunks:
        for at, part in enumerate(_list(chunk["choices"])):
            place = f"event {n} $.choices[{at}]"
            index = part.get("index", 0)
            is_first = index not in choices
            choice = choices.setdefault(index, Choice())
            if choice.finish_reason is not None:
                if part.get("finish_reason") is not None:
                    yield Problem(f"{place}.finish_reason", "a second finish_reason", "one for each choice")
                elif part.get("delta") or part.get("text"):
                    yield Problem(place, "more of a choice after its finish_reason", "nothing more of this choice")
            if exchange.dialect == "chat":
                yield from _delta(part, choice, f"{place}.delta", is_first=is_first)
            _add(choice, part)
    if sorted(choices) != list(range(len(choices))):
        yield Problem("$.choices[*].index", f"{sorted(choices)}", "numbers from 0 on without gaps")
    for index, choice in choices.items():
        if choice.finish_reason is None and not failed:
            yield Problem(f"choice {index}", "no finish_reason", "one in the last chunk of each choice")


def _delta(part: dict[str, Any], choice: Choice, place: str, *, is_first: bool) -> Iterator[Problem]:
    """The first delta of a choice has the role. The first delta of a call has its id, type and name."""
    delta = part.get("delta")
    if not isinstance(delta, dict):
        return
    if is_first and delta.get("role") != "assistant":
        yield Problem(f"{place}.role", short(delta.get("role")), '"assistant" in the first delta of a choice')
    if not is_first and "role" in delta:
        yield Problem(f"{place}.role", short(delta["role"]), "the role in the first delta of a choice alone")
    for at, call in enumerate(_list(delta.get("tool_calls"))):
        here = f"{place}.tool_calls[{at}]"
        index = call.get("index")
        name = (call.get("function") or {}).get("name")
        if index in choice.calls:
            if "id" in call or name:
                yield Problem(here, "an id or a name again", "id, type and name in the first delta of a call alone")
            continue
        if index != len(choice.calls):
            yield Problem(f"{here}.index", short(index), f"{len(choice.calls)}, the number of the next call")
        if not call.get("id") or not call.get("type") or not name:
            yield Problem(here, short(call), "id, type and function.name in the first delta of a call")
        if call.get("id") and call["id"] in {one.get("id") for one in choice.calls.values()}:
            yield Problem(f"{here}.id", short(call["id"]), "an id of its own for each call")


def _add(choice: Choice, part: dict[str, Any]) -> None:
    """Add a chunk's part of a choice."""
    delta: dict[str, Any] = next(iter(_list([part.get("delta")])), {})
    choice.role = choice.role or delta.get("role")
    choice.text += _text(delta.get("content")) + _text(part.get("text"))
    choice.refusal += _text(delta.get("refusal"))
    for call in _list(delta.get("tool_calls")):
        known = choice.calls.setdefault(call.get("index", 0), {"id": call.get("id"), "name": None, "arguments": ""})
        function = call.get("function") or {}
        known["name"] = known["name"] or function.get("name")
        known["arguments"] += _text(function.get("arguments"))
    choice.finish_reason = part.get("finish_reason") or choice.finish_reason


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
