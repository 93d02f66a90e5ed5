"""The keys that the real API's answers had, month by month. They are learned from recordings; answers must have them.

An entry of the table is a shape in one situation (``Response, completed``). It has, for each month, how many recordings
had such objects. For each key it has, for each month, in how many recordings all such objects had the key; and the JSON
types of its values. Nothing else of a recording is stored.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from conform.document import EXTRA, FACTS, KIND, MISSING, VALUE, Difference, Document
from conform.exchange import Exchange, Problem, kind_of
from conform.shapes import walks

ENOUGH = 6
"""A key is required if all recordings since some month had it, and if these are at least so many."""

ELSEWHERE = {
    (KIND, "CreateCompletionResponse", "usage"),  # null before the last chunk, as for chat
    (VALUE, "ResponseError", "code"),  # insufficient_quota, server_is_overloaded
    (VALUE, "ResponseStreamEvent", ""),  # keepalive
    (VALUE, "WebSearchActionSearch.sources", "type"),  # api
    (MISSING, "WebSearchActionSearch.sources", "url"),
    (MISSING, "ImageGenToolCall", "result"),
    (MISSING, "ResponseErrorEvent", "code"),  # this field and the next two are inside ``error``
    (MISSING, "ResponseErrorEvent", "message"),
    (MISSING, "ResponseErrorEvent", "param"),
    (EXTRA, "ResponseErrorEvent", "error"),
}
"""Further differences from the document. Public recordings, reports, or the texts of the document itself show them."""


class Wire:
    """The table. ``learn`` adds a recording to it."""

    def __init__(self, table: Mapping[str, Any] | None = None) -> None:
        self.table: dict[str, Any] = {"recordings": {}, "situations": {}}
        if table:
            self.table = json.loads(json.dumps(table))
        self._situations: dict[str, Any] = self.table["situations"]

    @property
    def title(self) -> str:
        """The number and the dates of the recordings."""
        months = self.table["recordings"]
        if not months:
            return "no recordings"
        return f"{sum(months.values())} recordings from {min(months)} to {max(months)}"

    def learn(self, exchange: Exchange, document: Document) -> None:
        """Add a recording of the real API. It needs a date."""
        if exchange.date is None:
            return
        month = exchange.date[:7]
        found: dict[str, list[dict[str, Any]]] = {}
        for walk in walks(exchange, document):
            for _, shape, value in walk.objects:
                found.setdefault(situation(shape, value, exchange), []).append(value)
        _count(self.table["recordings"], month)
        for name, values in found.items():
            entry = self._situations.setdefault(name, {"recordings": {}, "keys": {}})
            _count(entry["recordings"], month)
            for key in {key for value in values for key in value}:
                fact = entry["keys"].setdefault(key, {"in": {}, "kinds": []})
                if all(key in value for value in values):
                    _count(fact["in"], month)
                kinds = {kind_of(value[key]) for value in values if key in value}
                fact["kinds"] = sorted({*fact["kinds"], *kinds})

    def always(self, name: str, key: str) -> tuple[str, int]:
        """Return the month since which all recordings have a key, and the number of these recordings.

        If not all recordings of the newest month have the key: ("", 0).
        """
        entry = self._situations.get(name, {"recordings": {}, "keys": {}})
        with_it = entry["keys"].get(key, {"in": {}})["in"]
        since, count = "", 0
        for month in sorted(entry["recordings"], reverse=True):
            if with_it.get(month, 0) < entry["recordings"][month]:
                break
            since, count = month, count + with_it[month]
        return since, count

    def missing(self, exchange: Exchange, place: str, shape: str, value: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield the keys that the real API always sends in such an object, and that this one lacks."""
        name = situation(shape, value, exchange)
        for key in self._situations.get(name, {"keys": {}})["keys"]:
            since, count = self.always(name, key)
            if key not in value and count >= ENOUGH and _holds_at(since, exchange.date):
                wanted = f"{key}: in all {count} recordings since {since} ({name})"
                yield Problem(f"{place}.{key}", "no such key", wanted)

    def allows(self, exchange: Exchange, difference: Difference, parent: Mapping[str, Any]) -> bool:
        """Return whether recordings of the real API differ from the document in the same way."""
        if (difference.how, difference.shape, difference.key) in ELSEWHERE:
            return True
        facts = self._facts(difference.shape, difference.key)
        if difference.how == KIND:
            return any(kind_of(difference.came) in fact["kinds"] for fact in facts)
        name = situation(difference.shape, parent, exchange)
        if difference.how == MISSING and name in self._situations:
            since, _ = self.always(name, difference.key)
            return not (since and _holds_at(since, exchange.date))
        return False

    def is_extra(self, difference: Difference) -> bool:
        """Return whether a key that the document lacks is in no recording either, and there are enough recordings."""
        if (EXTRA, difference.shape, difference.key) in ELSEWHERE or self._facts(difference.shape, difference.key):
            return False
        return self._recordings(difference.shape) >= ENOUGH

    def seen(self, shape: str) -> str:
        """Return a text that says how many recordings have a shape."""
        return f"{self._recordings(shape)} recordings of {shape}"

    def _facts(self, shape: str, key: str) -> list[dict[str, Any]]:
        """Return what is known of a key in all situations of a shape."""
        entries = [entry for name, entry in self._situations.items() if name.partition(",")[0] == shape]
        return [entry["keys"][key] for entry in entries if key in entry["keys"]]

    def _recordings(self, shape: str) -> int:
        entries = [entry for name, entry in self._situations.items() if name.partition(",")[0] == shape]
        return max((sum(entry["recordings"].values()) for entry in entries), default=0)


def situation(shape: str, value: Mapping[str, Any], exchange: Exchange) -> str:
    """Return the name of an object's entry. A shape has several entries if its keys depend on the situation."""
    if shape == "Response":
        return f"{shape}, {value.get('status')}"
    if shape == "CreateChatCompletionStreamResponse":
        counted = "with usage" if (exchange.asked.get("stream_options") or {}).get("include_usage") else "without usage"
        return f"{shape}, {counted}"
    if shape.startswith("CompletionUsage"):
        return f"{shape}, {exchange.dialect}"
    if shape in ("ChatCompletionStreamResponseDelta", "ChatCompletionMessageToolCallChunk"):
        return f"{shape}, {'first' if 'role' in value or 'id' in value else 'later'}"
    if shape == "ChatCompletionMessageToolCallChunk.function":
        return f"{shape}, {'first' if 'name' in value else 'later'}"
    return shape


@cache
def wire() -> Wire:
    """Return the table of this version of the program."""
    return Wire(json.loads((FACTS / "wire.json").read_text(encoding="utf-8")))


def _holds_at(since: str, date: str | None) -> bool:
    """Return whether a rule that holds since a month holds for an answer of a date. None is today."""
    return date is None or date[:7] >= since


def _count(months: dict[str, int], month: str) -> None:
    months[month] = months.get(month, 0) + 1
