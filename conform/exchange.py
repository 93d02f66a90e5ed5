"""One request and its answer, as the checks read them, and what a check finds."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

type Dialect = Literal["chat", "responses", "completions", "models"]

NOT_JSON = object()
"""The value of what cannot be read as JSON."""

DONE = "[DONE]"


@dataclass(frozen=True)
class Event:
    """One event of a stream: its ``event:`` line, None without one, and its data."""

    name: str | None
    data: str

    @cached_property
    def value(self) -> Any:
        """The data as JSON, or ``NOT_JSON``."""
        return parsed(self.data)

    @property
    def fields(self) -> dict[str, Any]:
        """The data as an object; empty if it is none."""
        return self.value if isinstance(self.value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request and its answer. ``date`` is the day of a recording (``2026-05-06``), None for an answer of today.

    ``messages`` are what came over a WebSocket, None if there was none. Names of headers are in lower case.
    """

    name: str
    dialect: Dialect
    method: str = "POST"
    path: str = ""
    request: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    messages: Sequence[str] | None = None
    date: str | None = None

    @property
    def asked(self) -> Mapping[str, Any]:
        """The request's body; empty if it was no object or is not known."""
        return self.request if isinstance(self.request, dict) else {}

    @property
    def is_error(self) -> bool:
        """Whether the answer is an error by its status."""
        return self.status >= 400

    @property
    def is_stream(self) -> bool:
        """Whether the answer must be read as a stream of events."""
        if self.messages is not None:
            return True
        return not self.is_error and ("event-stream" in self.content_type or bool(self.asked.get("stream")))

    @property
    def content_type(self) -> str:
        """The media type of the answer, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def body(self) -> Any:
        """The body as JSON, or ``NOT_JSON``."""
        return parsed(self.text)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The events of a stream."""
        if self.messages is not None:
            return tuple(Event(None, message) for message in self.messages)
        return tuple(_events(self.text))


@dataclass(frozen=True)
class Finding:
    """A place where an answer differs from the real API's: what came there, and what the real API has.

    ``check`` is the kind of check; ``request`` the name of the exchange; ``place`` a JSON path, after the number of the
    event in a stream.
    """

    check: str
    request: str
    place: str
    came: str
    wanted: str


@dataclass(frozen=True)
class Problem:
    """What a check has found, before the request is known."""

    place: str
    came: str
    wanted: str


def parsed(text: Any) -> Any:
    """Return what JSON says, or ``NOT_JSON``: also for what an answer has in the place of a text."""
    if not isinstance(text, str):
        return NOT_JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def kind_of(value: Any) -> str:
    """Return JSON's name of a value's type; ``integer`` for a number without a fraction."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
        case dict():
            return "map"
        case _:
            return "no JSON"


def short(value: Any, limit: int = 60) -> str:
    """Return a value as JSON, shortened."""
    if value is NOT_JSON:
        return "no JSON"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _events(text: str) -> list[Event]:
    """Read an event stream as the HTML standard says."""
    events: list[Event] = []
    name: str | None = None
    data: list[str] = []
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        if not line:
            if data:
                events.append(Event(name, "\n".join(data)))
            name, data = None, []
            continue
        key, _, value = line.partition(":")
        if key == "event":
            name = value.removeprefix(" ")
        elif key == "data":
            data.append(value.removeprefix(" "))
    return events
