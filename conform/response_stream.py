"""The grammar of the Responses API's streams, over HTTP and WebSockets.

Source: recorded streams. Events are numbered from 0. ``response.created`` comes first. The last event has the response
at its end. Between them each item is added, gets its deltas, and is done. The same holds for each part of an item. The
end of a part, of an item and of the response repeats the sum of the deltas.
"""

from collections.abc import Iterator
from typing import Any

from conform.exchange import NOT_JSON, Exchange, Problem, short

ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
"""The last event of a stream, and the status of the response in it."""

BEGINNINGS = {
    "response.created": ("in_progress", "queued"),
    "response.queued": ("queued",),
    "response.in_progress": ("in_progress",),
}

TEXTS = ("text", "arguments", "input", "code", "refusal", "transcript")
"""The keys for the whole text at the end of a part."""

PARTS = ("output_index", "item_id", "content_index", "summary_index")
"""The fields of an event that together identify a part."""


def check_events(exchange: Exchange) -> Iterator[Problem]:
    """Check a stream of events from the first to the last."""
    events = [event.fields for event in exchange.events]
    yield from _lines(exchange)
    if not events:
        yield Problem("the stream", "no events", "response.created first")
        return
    yield from _numbers(exchange, events)
    yield from _frame(events)
    yield from _responses(events)
    stream = _Items()
    for n, event in enumerate(events):
        yield from stream.feed(f"event {n}", event)
    yield from stream.end(events[-1])


def _lines(exchange: Exchange) -> Iterator[Problem]:
    """The name of an event is its type, and its data is JSON."""
    for n, event in enumerate(exchange.events):
        if event.value is NOT_JSON:
            yield Problem(f"event {n}", short(event.data), "JSON")
        elif exchange.messages is None and event.name != event.fields.get("type"):
            wanted = f"event: {event.fields.get('type')}, as its type"
            yield Problem(f"event {n}", f"event: {event.name}" if event.name else "no line event:", wanted)


def _numbers(exchange: Exchange, events: list[dict[str, Any]]) -> Iterator[Problem]:
    """``sequence_number`` counts the events. A stream that is resumed begins later."""
    if not any("sequence_number" in event for event in events):
        return  # before 2025-07 there was none; now its absence is a missing key
    for n, event in enumerate(events):
        if event.get("type") != "keepalive" and event.get("sequence_number") != n:
            yield Problem(f"event {n} $.sequence_number", short(event.get("sequence_number")), str(n))
            return


def _frame(events: list[dict[str, Any]]) -> Iterator[Problem]:
    """Check the types of the first and the last event. No event in between may have them."""
    types = [event.get("type") for event in events]
    if types[0] != "response.created":
        yield Problem("event 0 $.type", short(types[0]), '"response.created"')
    if types[-1] not in ENDS:
        yield Problem(f"event {len(types) - 1} $.type", short(types[-1]), f"one of {', '.join(ENDS)} at the end")
    begun = False
    for n, kind in enumerate(types):
        if kind == "response.created" and n:
            yield Problem(f"event {n} $.type", short(kind), "response.created once, as the first")
        if kind in ENDS and n < len(types) - 1:
            yield Problem(f"event {n} $.type", short(kind), "nothing after the end of the response")
        if kind == "response.in_progress" and begun:
            yield Problem(f"event {n} $.type", short(kind), "response.in_progress before all items")
        begun = begun or kind not in (*BEGINNINGS, "keepalive")
    if "response.in_progress" not in types and types[-1] != "response.failed":
        yield Problem("the stream", "no response.in_progress", "response.in_progress after response.created")


def _responses(events: list[dict[str, Any]]) -> Iterator[Problem]:
    """Events that have a response have the same response, and its status fits the type of the event."""
    told = [(n, event) for n, event in enumerate(events) if isinstance(event.get("response"), dict)]
    for n, event in told:
        response, first = event["response"], told[0][1]["response"]
        for key in ("id", "created_at", "model"):
            if response.get(key) != first.get(key):
                yield Problem(
                    f"event {n} $.response.{key}", short(response.get(key)), f"{short(first.get(key))}, as before"
                )
        kind = event.get("type", "")
        statuses = BEGINNINGS.get(kind) or ((ENDS[kind],) if kind in ENDS else ())
        if statuses and response.get("status") not in statuses:
            yield Problem(f"event {n} $.response.status", short(response.get("status")), " or ".join(statuses))
        if kind in BEGINNINGS and response.get("output"):
            yield Problem(f"event {n} $.response.output", short(response["output"]), "[] before the first item")
        if kind in BEGINNINGS and response.get("usage") is not None:
            yield Problem(f"event {n} $.response.usage", short(response["usage"]), "null before the end")


class _Items:
    """The items of one response, by its events so far."""

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Any]] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._ids: set[str] = set()
        self._texts: dict[tuple[Any, ...], str] = {}
        self._begun: set[tuple[Any, ...]] = set()
        self._ended: set[tuple[Any, ...]] = set()

    def feed(self, place: str, event: dict[str, Any]) -> Iterator[Problem]:
        """Add one event."""
        kind = event.get("type", "")
        if kind == "response.output_item.added":
            yield from self._add(place, event)
        elif kind == "response.output_item.done":
            yield from self._finish(place, event)
        elif "output_index" in event:
            yield from self._within(place, event)
            if kind.endswith("_part.added"):
                self._begun.add(_part(event))
            elif kind.endswith(".delta") and isinstance(event.get("delta"), str):
                yield from self._delta(place, event)
            elif kind.endswith("_part.done"):
                yield from self._same(place, event, event.get("part") or {})
            elif kind.endswith(".done"):
                yield from self._same(place, event, event)

    def end(self, last: dict[str, Any]) -> Iterator[Problem]:
        """Compare the items with the response at the end."""
        for index in self._open:
            if last.get("type") == "response.completed":
                yield Problem("the stream", f"item {index} is not done", "response.output_item.done for each item")
        response = last.get("response")
        if last.get("type") not in ENDS or not isinstance(response, dict) or last["type"] == "response.failed":
            return
        output = [_lasting(item) for item in response.get("output") or []]
        told = [_lasting(self._done[index]) for index in sorted(self._done)]
        if output != told:
            n = next(
                (n for n, (a, b) in enumerate(zip(output, told, strict=False)) if a != b), min(len(output), len(told))
            )
            came = short(output[n]) if n < len(output) else f"{len(output)} items"
            wanted = short(told[n]) if n < len(told) else f"{len(told)} items"
            yield Problem(f"the last event $.response.output[{n}]", came, f"{wanted}, as in response.output_item.done")

    def _add(self, place: str, event: dict[str, Any]) -> Iterator[Problem]:
        index, item = event.get("output_index"), event.get("item") or {}
        known = len(self._open) + len(self._done)
        if index != known:
            yield Problem(f"{place} $.output_index", short(index), f"{known}, the number of the next item")
        if item.get("id") in self._ids:
            yield Problem(f"{place} $.item.id", short(item.get("id")), "an id of its own for each item")
        # Items of tools that the API runs itself may be complete when they are added.
        is_growing = item.get("type") in ("message", "function_call")
        if is_growing and item.get("status") not in (None, "in_progress"):
            yield Problem(f"{place} $.item.status", short(item.get("status")), '"in_progress"')
        self._ids.add(str(item.get("id")))
        self._open[index if isinstance(index, int) else known] = item

    def _finish(self, place: str, event: dict[str, Any]) -> Iterator[Problem]:
        index, item = event.get("output_index", -1), event.get("item") or {}
        added = self._open.pop(index, None)
        if added is None:
            yield Problem(f"{place} $.output_index", short(index), "an item that was added and is not done")
            return
        self._done[index] = item
        for key in ("id", "type", "call_id", "name", "role"):
            if item.get(key) != added.get(key):
                yield Problem(
                    f"{place} $.item.{key}", short(item.get(key)), f"{short(added.get(key))}, as it was added"
                )
        if item.get("status") == "in_progress":
            yield Problem(f"{place} $.item.status", '"in_progress"', "the status at the end of the item")
        for part, text in self._texts.items():
            if part[0] == index and (found := _told_in(item, part)) is not None and found != text:
                yield Problem(f"{place} $.item", short(found), f"{short(text)}, what the deltas add up to")

    def _within(self, place: str, event: dict[str, Any]) -> Iterator[Problem]:
        """An event of an item names an item that is added and not done."""
        item = self._open.get(event["output_index"])
        if item is None:
            yield Problem(f"{place} $.output_index", short(event["output_index"]), "an item that is not done")
        elif event.get("item_id") != item.get("id"):
            yield Problem(f"{place} $.item_id", short(event.get("item_id")), f"{short(item.get('id'))}, the item's id")

    def _delta(self, place: str, event: dict[str, Any]) -> Iterator[Problem]:
        key = _part(event)
        if key in self._ended:
            yield Problem(place, f"{event['type']} after the part is done", "no delta after the part is done")
        if key not in self._begun and _is_within_part(event):
            yield Problem(place, f"{event['type']} before the part is added", "an event that adds the part first")
        self._texts[key] = self._texts.get(key, "") + event["delta"]

    def _same(self, place: str, event: dict[str, Any], told: dict[str, Any]) -> Iterator[Problem]:
        """The end of a part has the sum of its deltas."""
        key = _part(event)
        text = self._texts.get(key)
        for name in TEXTS:
            if isinstance(told.get(name), str) and text is not None and told[name] != text:
                yield Problem(f"{place} $.{name}", short(told[name]), f"{short(text)}, what the deltas add up to")
        self._ended.add(key)


def _lasting(item: Any) -> Any:
    """Return what the response at the end repeats of an item.

    ``encrypted_content`` is encrypted again, so it differs. Tools may add results until the end.
    """
    if not isinstance(item, dict):
        return item
    if item.get("type") not in ("message", "function_call", "custom_tool_call", "reasoning"):
        return {key: item.get(key) for key in ("id", "type", "status")}
    return {key: value for key, value in item.items() if key != "encrypted_content"}


def _is_within_part(event: dict[str, Any]) -> bool:
    """Return whether a delta belongs to a part of an item. Other deltas belong to the item itself."""
    return "content_index" in event or "summary_index" in event


def _part(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what identifies the part: a part of the summary, a part of the content, or the item's own text."""
    return tuple(event.get(name) for name in PARTS)


def _told_in(item: dict[str, Any], part: tuple[Any, ...]) -> str | None:
    """Return the text of a part in a whole item, or None if the item has no such text."""
    _, _, content, summary = part
    where: Any = item
    for name, index in (("content", content), ("summary", summary)):
        if index is not None:
            parts = item.get(name)
            where = parts[index] if isinstance(parts, list) and index < len(parts) else {}
    return next((where[name] for name in TEXTS if isinstance(where, dict) and isinstance(where.get(name), str)), None)
