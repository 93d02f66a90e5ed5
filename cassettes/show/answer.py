"""Reads the answer that an app received, whole or in part.

The answer is read from the recorded ``message``, else from the chunks, else from Claude's events. A stream that broke
off has no ``message``, or an empty one. Then this module joins the pieces that had arrived.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cassettes.assemble import assemble_events, events_of
from cassettes.openai_bodies import error_in, mapping, parsed, usage_in
from cassettes.show.parts import Kind, Part, said, text_of
from cassettes.show.safe import size

type Source = Literal["message", "chunks", "events", "none"]

DELTAS: Mapping[str, Kind] = {  # events of Responses that add to an item -> the kind of part
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool_call",
    "response.custom_tool_call_input.delta": "tool_call",
}
CLAUDES: Mapping[str, tuple[str, Kind]] = {  # Claude's deltas -> the key of the text, the kind of part
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "reasoning"),
    "input_json_delta": ("partial_json", "tool_call"),
}
UNFINISHED = ("in_progress", "queued")


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer. There are several if the app set ``n``. ``ended``: the finish reason, or ""."""

    parts: tuple[Part, ...]
    ended: str = ""

    def text(self, kind: Kind = "text") -> str:
        """Return the joined text of all parts of one kind."""
        return "".join(part.text for part in self.parts if part.kind == kind)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``source``: what it was read from. ``raw``: the text of a body that is not an answer of a model.

    ``model``, ``usage`` and ``error`` are as in the answer itself.
    """

    source: Source
    choices: tuple[Choice, ...] = ()
    model: str = ""
    usage: Mapping[str, Any] | None = None
    error: Any = None
    raw: str = ""


def answer(message: Any, body: bytes, events: Iterable[tuple[int, Mapping[str, Any]]], *, is_stream: bool) -> Answer:
    """Return the answer.

    ``message``: the recorded message, or None. ``body``: the bytes of all chunks. ``events``: Claude's events, each
    with the number of its turn. ``is_stream``: whether the body is an event stream.
    """
    told = _read(message, "message") if message is not None else None
    if told is not None and not _is_unfinished(message) and (_says(told) or told.error is None):
        return told
    found = (_of_stream if is_stream else _of_body)(body) if body else Answer("none")
    if _says(found) or (told is None and found.error is not None):
        # The message of a failed answer may lack the text that came before the failure. The chunks have it.
        return found if told is None else replace(told, source="chunks", choices=found.choices, raw=found.raw)
    choices = of_claude(events)
    if any(choice.parts for choice in choices):
        return replace(told or found, source="events", choices=choices)
    return told or found


def _says(told: Answer) -> bool:
    return bool(told.raw) or any(choice.parts for choice in told.choices)


def _is_unfinished(message: Any) -> bool:
    """Return whether a message is a response that has only begun."""
    return isinstance(message, Mapping) and message.get("status") in UNFINISHED


def _of_body(body: bytes) -> Answer:
    try:
        return _read(json.loads(body), "chunks")
    except (ValueError, RecursionError):
        return Answer("chunks", raw=_as_text(body))


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"({size(len(body))} that are no text)"


def _of_stream(body: bytes) -> Answer:
    events = list(decoded(body))
    if not events:
        return Answer("chunks", raw=_as_text(body) if b"data:" not in body and not body.startswith(b":") else "")
    try:
        whole = assemble_events(events)
    except (AttributeError, TypeError, ValueError, KeyError):  # chunks of an unknown shape
        return Answer("chunks", raw=_as_text(body))
    if whole is None or _is_unfinished(whole) or any(event.get("type") in DELTAS for event in events):
        told = _read(whole, "chunks") if whole is not None else Answer("chunks")
        return told if told.choices and not _is_unfinished(whole) else replace(told, choices=_of_items(events), raw="")
    return _read(whole, "chunks")


def decoded(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream that are JSON objects."""
    for _, data in events_of(body):
        if isinstance(value := parsed(data), dict):
            yield value


def _of_items(events: Iterable[dict[str, Any]]) -> tuple[Choice, ...]:
    """Join the items of a response that broke off."""
    items: dict[int, tuple[Part, ...]] = {}
    for event in events:
        kind, place = event.get("type"), event.get("output_index")
        if not isinstance(place, int) or not isinstance(kind, str):
            continue
        if kind in ("response.output_item.added", "response.output_item.done"):
            items[place] = said(event.get("item")).parts
        elif kind in DELTAS:
            items[place] = _added(items.get(place, ()), DELTAS[kind], text_of(event.get("delta")))
    parts = tuple(part for place in sorted(items) for part in items[place] if part.text or part.name)
    return (Choice(parts),) if parts else ()


def _added(parts: tuple[Part, ...], kind: Kind, text: str) -> tuple[Part, ...]:
    if parts and parts[-1].kind == kind:
        return (*parts[:-1], replace(parts[-1], text=parts[-1].text + text))
    return (*parts, Part(kind, text))


def _read(message: Any, source: Source) -> Answer:
    """Read a whole answer: a chat completion, a legacy completion, a response, a bare message, or an error."""
    if not isinstance(message, Mapping):
        return Answer(source, raw=text_of(message))
    told = Answer(source, model=text_of(message.get("model")), usage=usage_in(message), error=error_in(message))
    if isinstance(choices := message.get("choices"), list):
        return replace(told, choices=tuple(_choice(choice) for choice in choices))
    if isinstance(output := message.get("output"), list):
        parts = tuple(part for item in output for part in said(item).parts)
        return replace(told, choices=(Choice(parts, _ended(message)),) if parts or told.error is None else ())
    if any(name in message for name in ("content", "tool_calls", "function_call", "refusal")):
        ended = text_of(message.get("finish_reason") or message.get("stop_reason"))
        return replace(told, choices=(Choice(said({"role": "assistant", **message}).parts, ended),))
    if told.error is not None:
        return told
    return replace(told, raw=text_of(message))


def _ended(response: Mapping[str, Any]) -> str:
    reason = text_of(mapping(response.get("incomplete_details")).get("reason"))
    status = text_of(response.get("status"))
    return f"{status}: {reason}" if status and reason else status


def _choice(choice: Any) -> Choice:
    if not isinstance(choice, Mapping):
        return Choice((Part("other", text_of(choice)),))
    ended = text_of(choice.get("finish_reason"))
    if isinstance(message := choice.get("message"), Mapping):
        return Choice(said({"role": "assistant", **message}).parts, ended)
    return Choice((Part("text", choice["text"]),) if isinstance(choice.get("text"), str) else (), ended)


def of_claude(events: Iterable[tuple[int, Mapping[str, Any]]]) -> tuple[Choice, ...]:
    """Join Claude's stream events. Return one choice for each turn."""
    blocks: dict[int, dict[int, Part]] = {}
    ended: dict[int, str] = {}
    for of, value in events:
        event = unwrapped(value)
        known, place = blocks.setdefault(of, {}), event.get("index")
        if event.get("type") == "content_block_start" and isinstance(place, int):
            known[place] = _begun(event.get("content_block"))
        elif event.get("type") == "content_block_delta" and isinstance(place, int):
            _grow(known, place, event.get("delta"))
        elif event.get("type") == "message_delta" and isinstance(delta := event.get("delta"), Mapping):
            ended[of] = text_of(delta.get("stop_reason"))
    return tuple(
        Choice(tuple(known[place] for place in sorted(known)), ended.get(of, ""))
        for of, known in sorted(blocks.items())
    )


def unwrapped(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return Claude's event. If an SDK message contains it, unwrap it."""
    inner = event.get("event")
    return inner if event.get("type") == "stream_event" and isinstance(inner, Mapping) else event


def _begun(block: Any) -> Part:
    part = next(iter(said({"role": "assistant", "content": [block]}).parts), Part("other", ""))
    # A tool call begins with an empty input. The text of the input then comes in pieces.
    return replace(part, text="") if part.kind == "tool_call" and part.text == "{}" else part


def _grow(known: dict[int, Part], place: int, delta: Any) -> None:
    if isinstance(delta, Mapping) and (what := CLAUDES.get(text_of(delta.get("type")))) is not None:
        key, kind = what
        part = known.get(place, Part(kind, ""))
        known[place] = replace(part, text=part.text + text_of(delta.get(key)))
