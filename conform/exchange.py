"""One request and its answer in the form that the checks read, and the form of findings."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

type Dialect = Literal["chat", "responses", "completions", "models"]

NOT_JSON = object()
"""Stands for the value of a text that is not JSON."""

DONE = "[DONE]"


@dataclass(frozen=True)
class Event:
    """One event of a stream: the text of its ``event:`` line (None if there is no such line), and its data."""

    name: str | None
    data: str

    @cached_property
    def value(self) -> Any:
        """The data as JSON, or ``NOT_JSON``."""
        return parsed(self.data)

    @property
    def fields(self) -> dict[str, Any]:
        """The data as an object. Empty if the data is not an object."""
        return self.value if isinstance(self.value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request and its answer. ``date`` is the day of a recording (``2026-05-06``), or None for an answer of today.

    ``messages`` are the messages of a WebSocket, or None if there was no WebSocket. Names of headers are in lower case.
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
        """The request's body. Empty if it is not an object or not known."""
        return self.request if isinstance(self.request, dict) else {}

    @property
    def is_error(self) -> bool:
        """Whether the answer's status is that of an error."""
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

    ``check`` is the kind of check, ``request`` the name of the exchange, and ``place`` a JSON path. In a stream the
    number of the event stands before the path.
    """

    check: str
    request: str
    place: str
    came: str
    wanted: str


@dataclass(frozen=True)
class Problem:
    """A finding without the names of its check and its request."""

    place: str
    came: str
    wanted: str


def parsed(text: Any) -> Any:
    """Return the value of a JSON text, or ``NOT_JSON``. An answer may have another value in the place of a text."""
    if not isinstance(text, str):
        return NOT_JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def kind_of(value: Any) -> str:
    """Return the name of a value's JSON type. ``integer`` is a number without a fraction, and ``map`` is an object."""
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
    """Read an event stream by the rules of the HTML standard."""
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
