"""The open items of a response.

Each has an ``id``, its ``index`` in the output, and ``number``, which returns the next sequence number of the stream.
Its methods return the item at its beginning (``begun``), the events before its end (``close``), the finished item as
the app sees it (``done``), and the finished item as it is stored (``kept``).
"""

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from translate.responses import wire
from translate.responses.free_text import FreeText
from translate.responses.offered import Offered
from translate.responses.reasoning import pack, redacted_block, thinking_block
from translate.web_search import UrlCitation, found_urls

type Events = list[wire.ResponseEvent]


class _Placed:
    """The part that all items have."""

    def __init__(self, id: str, index: int, number: Callable[[], int]) -> None:
        self.id = id
        self.index = index
        self._number = number


class GrowingMessage(_Placed):
    """A message: text, and sometimes a refusal after it. Its last part is open."""

    def __init__(self, id: str, index: int, number: Callable[[], int]) -> None:
        super().__init__(id, index, number)
        self._parts: list[wire.OutputText | wire.Refusal] = []
        self._kind: type[wire.OutputText | wire.Refusal] | None = None
        self._pieces: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self.length = 0
        self.phase: wire.Phase | None = None
        """What the message was, once that is known."""

    def begun(self) -> wire.OutputItem:
        """Return an empty message."""
        return wire.OutputMessage(self.id, "in_progress", [])

    def add_text(self, text: str) -> Events:
        """Add text. Empty text only begins the part."""
        events = self._part(wire.OutputText)
        if text:
            self._pieces.append(text)
            self.length += len(text)
            events.append(wire.OutputTextDelta(self.id, self.index, len(self._parts), text, self._number()))
        return events

    def cite(self, citation: UrlCitation) -> Events:
        """Add a citation of the text."""
        annotation = {
            "type": "url_citation",
            "url": citation.url,
            "title": citation.title,
            "start_index": citation.start,
            "end_index": citation.end,
        }
        place = len(self._annotations)
        self._annotations.append(annotation)
        part = len(self._parts)
        return [wire.OutputTextAnnotationAdded(self.id, self.index, part, place, annotation, self._number())]

    def add_refusal(self, text: str) -> Events:
        """Add text of the refusal."""
        events = self._part(wire.Refusal)
        self._pieces.append(text)
        events.append(wire.RefusalDelta(self.id, self.index, len(self._parts), text, self._number()))
        return events

    def close(self, status: wire.ItemStatus) -> Events:
        """Close the open part."""
        return self._close_part()

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the message."""
        return wire.OutputMessage(self.id, status, self._parts, phase=self.phase or UNSET)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the message as it is."""
        return done

    def _part(self, kind: type[wire.OutputText | wire.Refusal]) -> Events:
        """Begin a part of this kind, unless the open part is of this kind."""
        if self._kind is kind:
            return []
        events = self._close_part()
        self._kind = kind
        return [*events, wire.ContentPartAdded(self.id, self.index, len(self._parts), kind(""), self._number())]

    def _close_part(self) -> Events:
        if self._kind is None:
            return []
        text, place = "".join(self._pieces), len(self._parts)
        part = wire.OutputText(text, self._annotations) if self._kind is wire.OutputText else self._kind(text)
        self._parts.append(part)
        self._kind, self._pieces, self._annotations, self.length = None, [], [], 0
        told: wire.ResponseEvent
        if isinstance(part, wire.OutputText):
            told = wire.OutputTextDone(self.id, self.index, place, text, self._number())
        else:
            told = wire.RefusalDone(self.id, self.index, place, text, self._number())
        return [told, wire.ContentPartDone(self.id, self.index, place, part, self._number())]


class GrowingCall(_Placed):
    """A call of one of the app's functions."""

    def __init__(self, id: str, index: int, number: Callable[[], int], *, call_id: str, tool: Offered) -> None:
        super().__init__(id, index, number)
        self._call_id = call_id
        self._tool = tool
        self._pieces: list[str] = []

    def begun(self) -> wire.OutputItem:
        """Return the call without its arguments."""
        return self._item("", "in_progress")

    def add(self, piece: str) -> Events:
        """Add a piece of the arguments."""
        self._pieces.append(piece)
        return [wire.FunctionCallArgumentsDelta(self.id, self.index, piece, self._number())]

    def close(self, status: wire.ItemStatus) -> Events:
        """Close the arguments."""
        # For a call without arguments Claude sends nothing, and OpenAI sends an empty object.
        events = self.add("{}") if status == "completed" and not self._pieces else []
        arguments = "".join(self._pieces)
        done = wire.FunctionCallArgumentsDone(self.id, self.index, self._tool.name, arguments, self._number())
        return [*events, done]

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the call."""
        return self._item("".join(self._pieces), status)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the call as it is."""
        return done

    def _item(self, arguments: str, status: wire.ItemStatus) -> wire.FunctionCall:
        name, namespace = self._tool.name, self._tool.namespace or UNSET
        return wire.FunctionCall(self.id, self._call_id, name, arguments, status, namespace)


class GrowingCustomCall(_Placed):
    """A call of one of the app's custom tools. Claude writes JSON, and the app gets the text in it."""

    def __init__(self, id: str, index: int, number: Callable[[], int], *, call_id: str, tool: Offered) -> None:
        super().__init__(id, index, number)
        self._call_id = call_id
        self._tool = tool
        self._input = FreeText()

    def begun(self) -> wire.OutputItem:
        """Return the call without its input."""
        return self._item("", "in_progress")

    def add(self, piece: str) -> Events:
        """Add a piece of the input."""
        return self._delta(self._input.feed(piece))

    def close(self, status: wire.ItemStatus) -> Events:
        """Close the input."""
        events = self._delta(self._input.finish())
        return [*events, wire.CustomToolCallInputDone(self.id, self.index, self._input.text, self._number())]

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the call."""
        return self._item(self._input.text, status)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the call as it is."""
        return done

    def _delta(self, text: str) -> Events:
        return [wire.CustomToolCallInputDelta(self.id, self.index, text, self._number())] if text else []

    def _item(self, input: str, status: wire.ItemStatus) -> wire.CustomToolCall:
        name, namespace = self._tool.name, self._tool.namespace or UNSET
        return wire.CustomToolCall(self.id, self._call_id, name, input, status, namespace)


class GrowingSearch(_Placed):
    """A search for tools that the app does. The app gets it when it is complete."""

    def __init__(self, id: str, index: int, number: Callable[[], int], *, call_id: str) -> None:
        super().__init__(id, index, number)
        self._call_id = call_id
        self._pieces: list[str] = []

    def begun(self) -> wire.OutputItem:
        """Return the search without its arguments."""
        return wire.ToolSearchCall(self.id, self._call_id, {}, "in_progress")

    def add(self, piece: str) -> Events:
        """Add a piece of the arguments."""
        self._pieces.append(piece)
        return []

    def close(self, status: wire.ItemStatus) -> Events:
        """Return nothing. There are no events for the arguments."""
        return []

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the search. Incomplete arguments, and those that cannot be encoded again, become an empty object."""
        arguments: Any = {}
        with contextlib.suppress(ValueError):
            arguments = msgspec.json.decode("".join(self._pieces))
        return wire.ToolSearchCall(self.id, self._call_id, arguments, status)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the search as it is."""
        return done


class GrowingWebSearch(_Placed):
    """A web search by Anthropic. ``use_id`` is Claude's id for it. ``show_sources`` adds the pages that it found."""

    def __init__(self, id: str, index: int, number: Callable[[], int], *, use_id: str, show_sources: bool) -> None:
        super().__init__(id, index, number)
        self.use_id = use_id
        self._show_sources = show_sources
        self._pieces: list[str] = []
        self._sources: list[str] = []
        self._failed = False

    def begun(self) -> wire.OutputItem:
        """Return the search before its query is known."""
        return self._item("in_progress")

    def started(self) -> Events:
        """Return the event for the beginning of the search."""
        return [wire.WebSearchCallInProgress(self.id, self.index, self._number())]

    def add(self, piece: str) -> Events:
        """Add a piece of the query."""
        self._pieces.append(piece)
        return []

    def asked(self) -> Events:
        """Return the event for a complete query."""
        return [wire.WebSearchCallSearching(self.id, self.index, self._number())]

    def found(self, content: Any, *, failed: bool) -> None:
        """Take the result. A result that is not a list means that the search has failed."""
        urls = found_urls(content)
        self._failed = failed or urls is None
        self._sources = urls or []

    def close(self, status: wire.ItemStatus) -> Events:
        """Return the event for the end of the search, unless it failed."""
        return [] if self._failed else [wire.WebSearchCallCompleted(self.id, self.index, self._number())]

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the search."""
        return self._item("failed" if self._failed else "completed")

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the search as it is."""
        return done

    def _item(self, status: Literal["in_progress", "completed", "failed"]) -> wire.WebSearchCall:
        query = ""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            query = str(msgspec.json.decode("".join(self._pieces))["query"])
        action: dict[str, Any] = {"type": "search", "query": query}
        if self._show_sources and self._sources:
            action["sources"] = [{"type": "url", "url": url} for url in self._sources]
        return wire.WebSearchCall(self.id, status, action)


class GrowingMcpCall(_Placed):
    """A call of an MCP server's tool. ``use_id`` is Claude's id for it. It is open until its result is there."""

    def __init__(
        self, id: str, index: int, number: Callable[[], int], *, use_id: str, server_label: str, name: str
    ) -> None:
        super().__init__(id, index, number)
        self.use_id = use_id
        self._server_label = server_label
        self._name = name
        self._pieces: list[str] = []
        self._output = ""
        self._failed = True

    def begun(self) -> wire.OutputItem:
        """Return the call without its arguments."""
        return wire.McpCall(self.id, self._server_label, self._name, "", "in_progress")

    def started(self) -> Events:
        """Return the event for the beginning of the call."""
        return [wire.McpCallInProgress(self.id, self.index, self._number())]

    def add(self, piece: str) -> Events:
        """Add a piece of the arguments."""
        self._pieces.append(piece)
        return [wire.McpCallArgumentsDelta(self.id, self.index, piece, self._number())]

    def asked(self) -> Events:
        """Close the arguments."""
        events = [] if self._pieces else self.add("{}")
        return [*events, wire.McpCallArgumentsDone(self.id, self.index, "".join(self._pieces), self._number())]

    def found(self, content: Any, *, failed: bool) -> None:
        """Take the result: a text, or blocks whose text is used."""
        blocks = content if isinstance(content, list) else []
        texts = [str(block.get("text") or "") for block in blocks if block.get("type") == "text"]
        self._output = content if isinstance(content, str) else "\n".join(texts)
        self._failed = failed

    def close(self, status: wire.ItemStatus) -> Events:
        """Return the event for success or failure."""
        if self._failed:
            return [wire.McpCallFailed(self.id, self.index, self._number())]
        return [wire.McpCallCompleted(self.id, self.index, self._number())]

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the call. A call without a result has failed."""
        arguments = "".join(self._pieces)
        if not self._failed:
            return wire.McpCall(self.id, self._server_label, self._name, arguments, "completed", self._output)
        error = self._output or "The call was not answered."
        return wire.McpCall(self.id, self._server_label, self._name, arguments, "failed", error=error)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the call as it is."""
        return done


class GrowingReasoning(_Placed):
    """A block of thinking. ``data`` is the data of a redacted block.

    ``show_summary`` adds its summary, and ``show_encrypted`` adds the encrypted block.
    """

    def __init__(
        self,
        id: str,
        index: int,
        number: Callable[[], int],
        *,
        data: str | None,
        seal: Callable[[bytes], str],
        show_summary: bool,
        show_encrypted: bool,
    ) -> None:
        super().__init__(id, index, number)
        self._data = data
        self._seal = seal
        self._show_summary = show_summary
        self._show_encrypted = show_encrypted
        self._thinking: list[str] = []
        self._signature = ""

    def begun(self) -> wire.OutputItem:
        """Return the item without its summary."""
        return self._item(None)

    def add(self, thinking: str, signature: str) -> Events:
        """Add a piece of the thinking, and of its signature."""
        self._signature += signature
        if not thinking:
            return []
        self._thinking.append(thinking)
        if not self._show_summary:
            return []
        events: Events = []
        if len(self._thinking) == 1:
            events.append(wire.ReasoningSummaryPartAdded(self.id, self.index, 0, wire.SummaryText(""), self._number()))
        return [*events, wire.ReasoningSummaryTextDelta(self.id, self.index, 0, thinking, self._number())]

    def close(self, status: wire.ItemStatus) -> Events:
        """Close the summary, if there is one."""
        return [
            event
            for part in self._summary()
            for event in (
                wire.ReasoningSummaryTextDone(self.id, self.index, 0, part.text, self._number()),
                wire.ReasoningSummaryPartDone(self.id, self.index, 0, part, self._number()),
            )
        ]

    def done(self, status: wire.ItemStatus) -> wire.OutputItem:
        """Return the item."""
        return self._item(self._sealed() if self._show_encrypted else None)

    def kept(self, done: wire.OutputItem) -> wire.OutputItem:
        """Return the item with the encrypted block, whether or not the app asked for it."""
        return wire.ReasoningItem(self.id, self._summary(), self._sealed())

    def _item(self, sealed: str | None) -> wire.ReasoningItem:
        encrypted: str | UnsetType | None = sealed if self._show_encrypted else UNSET
        return wire.ReasoningItem(self.id, self._summary(), encrypted)

    def _summary(self) -> list[wire.SummaryText]:
        return [wire.SummaryText("".join(self._thinking))] if self._thinking and self._show_summary else []

    def _sealed(self) -> str | None:
        """Return the encrypted block; None if it was cut before it was signed, because Claude would not accept it."""
        if self._data is not None:
            return self._seal(pack(redacted_block(self._data)))
        if not self._signature:
            return None
        return self._seal(pack(thinking_block("".join(self._thinking), self._signature)))


type GrowingUse = GrowingCall | GrowingCustomCall | GrowingSearch
type Growing = GrowingMessage | GrowingUse | GrowingWebSearch | GrowingMcpCall | GrowingReasoning
