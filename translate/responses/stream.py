"""Claude's events -> those of a response: a state machine that is fed.

Feed one event, take the events it gives, numbered and in OpenAI's order. What may follow what is Chat Completions'
table (:data:`translate.chat.stream.TRANSITIONS`); the answer without streaming is the last of these events
(:mod:`translate.responses.fold`), so the two cannot disagree.

Theory of operation
-------------------
A response is a list of items, of which one at most is open. Claude's blocks become items: thinking a reasoning item,
a tool_use a function call, text a message. A block of text that follows another goes on with the same message and the
same part of it, since Claude cuts its text for reasons that are none of the app's (citations, the work of server tools
between); so a message is closed only when another item begins, or the answer ends. Searches of the web and calls of MCP
servers wait for their results beside what is open, several of them if Claude asks for several at once. Blocks of other
kinds are not the app's and leave no trace.

The answer is complete once a ``message_delta`` has told the stop reason. An answer that ends before that is an error,
never a short success: whoever sees it calls :meth:`ResponseStream.failed`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from translate import web_search
from translate.chat.finish_reason import finish_reason
from translate.chat.stream import TRANSITIONS, ClaudeProtocolError, State
from translate.claude_wire import (
    Block,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    MessageDelta,
    MessageStart,
    decode_event,
)
from translate.content import text_block
from translate.errors import OpenAIError
from translate.fence import FenceStripper
from translate.responses import wire
from translate.responses.growing import (
    Events,
    Growing,
    GrowingCall,
    GrowingCustomCall,
    GrowingMcpCall,
    GrowingMessage,
    GrowingReasoning,
    GrowingSearch,
    GrowingUse,
    GrowingWebSearch,
)
from translate.responses.mcp import LISTED
from translate.responses.offered import Offered
from translate.responses.reasoning import pack
from translate.responses.usage import service_tier, usage_from
from translate.usage import merge_usage
from translate.web_search import Citations

# Chat's finish_reason -> why a response is incomplete. Every other one completes it.
INCOMPLETE: dict[str, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}

# The codes of `response.error` are a closed list; what is not here is a `server_error`.
ERROR_CODES: dict[str, str] = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "insufficient_quota": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "request_too_large": "invalid_prompt",
}


class ResponseStream:
    """One response on its way.

    ``id`` and ``created_at`` (Unix seconds) are the caller's, as are ``new_id``, which makes an id with a prefix
    (``msg``, ``rs``, ``fc``, …), ``now``, which tells the time of the end, and ``seal``, which makes of a block
    of thinking what only the caller can open. ``echo`` is what the response repeats of its request; ``tools`` are the
    app's, by Claude's names for them, where they are not plain functions. ``show_sources`` tells of all that a search
    of the web found, not only of what is cited; ``compact`` makes the text a summary that only the caller can open.

    After the first event ``claude_model`` is who answers; ``unknown_events`` counts events of types we do not know.
    """

    def __init__(
        self,
        *,
        id: str,
        created_at: int,
        echo: wire.Echo,
        new_id: Callable[[str], str],
        now: Callable[[], int],
        seal: Callable[[bytes], str],
        show_summary: bool = False,
        show_encrypted: bool = False,
        unfence: bool = False,
        tools: Mapping[str, Offered] | None = None,
        show_sources: bool = False,
        compact: bool = False,
    ) -> None:
        self._id = id
        self._created_at = created_at
        self._echo = {name: getattr(echo, name) for name in echo.__struct_fields__}
        self._new_id = new_id
        self._now = now
        self._seal = seal
        self._show_summary = show_summary
        self._show_encrypted = show_encrypted
        self._unfence = FenceStripper() if unfence else None
        self._tools = tools or {}
        self._show_sources = show_sources
        self._compact = compact
        self._notes: list[str] = []
        self._citations = Citations()
        self._numbers = 0
        self._begun = False
        self._ended = False
        self._failed = False
        self._open: Growing | None = None
        self._block = ""
        self._items = 0
        self._output: dict[int, wire.OutputItem] = {}
        self._stored: dict[int, wire.OutputItem] = {}
        self._unanswered: dict[str, GrowingMcpCall | GrowingWebSearch] = {}
        self._loaded: set[str] = set()
        self._usage: dict[str, Any] = {}
        self.state = State.IDLE
        self.claude_model: str | None = None
        self.stop_reason: str | None = None
        self.unknown_events = 0

    @property
    def complete(self) -> bool:
        """Whether the stop reason is known, so that nothing the app needs can still come."""
        return self._ended and not self._failed

    @property
    def stored(self) -> list[wire.OutputItem]:
        """The items that are done, as a store keeps them: thinking sealed, whether or not the app asked for it."""
        return [self._stored[index] for index in sorted(self._stored)]

    def feed(self, raw: Mapping[str, Any]) -> Events:
        """Return the events this event gives: often one, sometimes none; none once the response has ended.

        Raises ClaudeProtocolError if the event cannot come now, or is not what its type says.
        """
        if self._ended:
            return []
        try:
            event = decode_event(raw)
        except msgspec.ValidationError as error:
            raise ClaudeProtocolError(f"{raw.get('type')}: {error}") from None
        if event is None:
            self.unknown_events += 1
            return []
        try:
            self.state = TRANSITIONS[self.state, type(event)]
        except KeyError:
            raise ClaudeProtocolError(f"{type(event).__name__} while {self.state.name}") from None
        match event:
            case MessageStart(message=message):
                self.claude_model = message.model
                self._usage = merge_usage({}, message.usage)
                return self._begin()
            case ContentBlockStart(content_block=block):
                return self._start_block(block)
            case ContentBlockDelta(delta=delta):
                return self._go_on(delta)
            case ContentBlockStop():
                return self._stop_block()
            case MessageDelta():
                return self._finish(event)
            case _:
                return []

    def feed_eof(self) -> None:
        """Say that no event will come. Raises ClaudeProtocolError unless the response is complete."""
        if not self.complete:
            raise ClaudeProtocolError(f"the events ended while {self.state.name}")

    def failed(self, error: OpenAIError) -> Events:
        """Return the events that end a response that broke off; its output is the items that were done.

        Raises ValueError if the response has ended.
        """
        if self._ended:
            raise ValueError("a response that has ended cannot fail")
        self._ended = self._failed = True
        events = [] if self._begun else self._begin()
        detail = {"type": error.type, "code": error.code, "message": error.message, "param": error.param}
        events.append(
            wire.ErrorEvent(
                code=error.code, message=error.message, param=error.param, error=detail, sequence_number=self._number()
            )
        )
        code = ERROR_CODES.get(error.code or "", "invalid_prompt" if error.status == 400 else "server_error")
        response = self._response("failed", error=wire.ResponseError(code, error.message))
        events.append(wire.Failed(response, self._number()))
        return events

    def queued(self) -> wire.Response:
        """Return the response as it is before anybody works on it. No event tells of it."""
        return self._response("queued")

    def warmed(self) -> Events:
        """Return the events of a response that nothing is to be generated for."""
        events = self._begin()
        self._ended = True
        response = self._response("completed", completed_at=self._now(), **self._counted())
        return [*events, wire.Completed(response, self._number())]

    def _begin(self) -> Events:
        self._begun = True
        response = self._response("in_progress")
        return [wire.Created(response, self._number()), wire.InProgress(response, self._number())]

    def _start_block(self, block: Block) -> Events:
        """Begin what a block begins. Blocks of any other kind (other server tools, new ones) are not the app's."""
        self._block = block.type
        if block.type == "text":
            self._citations.begin(self._open.length if isinstance(self._open, GrowingMessage) else 0)
            return self._text(block.text)
        if block.type == "server_tool_use" and block.name == web_search.NAME:
            closing = self._close()
            search = GrowingWebSearch(*self._place("ws"), use_id=block.id, show_sources=self._show_sources)
            return closing + self._start(search) + search.started()
        if block.type == "mcp_tool_use":
            closing = self._close()
            call = GrowingMcpCall(*self._place("mcp"), use_id=block.id, server_label=block.server_name, name=block.name)
            return closing + self._start(call) + call.started()
        if waiting := self._unanswered.pop(block.tool_use_id, None):
            waiting.found(block.content, failed=block.is_error)
            return self._close() + self._end(waiting)
        if block.type == LISTED:
            return self._close() + self._listed(block)
        if block.type == "tool_use":
            closing = self._close()
            return closing + self._found(block.name) + self._start(self._call(block))
        if block.type in ("thinking", "redacted_thinking") and not self._compact:
            closing = self._close()
            return closing + self._start(self._reasoning(block))
        return []

    def _call(self, block: Block) -> GrowingUse:
        tool = self._tools.get(block.name) or Offered(block.name)
        match tool.kind:
            case "custom":
                return GrowingCustomCall(*self._place("ctc"), call_id=block.id, tool=tool)
            case "tool_search":
                return GrowingSearch(*self._place("tsc"), call_id=block.id)
            case "function":
                return GrowingCall(*self._place("fc"), call_id=block.id, tool=tool)

    def _found(self, name: str) -> Events:
        """Tell of the search that would have found a tool, unless it needs none or was found already."""
        deferred = self._tools[name].deferred if name in self._tools else None
        if deferred is None or deferred["name"] in self._loaded:
            return []
        self._loaded.add(deferred["name"])
        call, index, _ = self._place("tsc")
        paths = {"paths": [deferred["name"]]}
        events = self._whole(index, wire.ToolSearchCall(call, None, paths, "completed", "server"))
        output, index, _ = self._place("tso")
        return events + self._whole(index, wire.ToolSearchOutput(output, [deferred], "completed"))

    def _whole(self, index: int, item: wire.OutputItem) -> Events:
        """Tell of an item that comes in one piece."""
        self._output[index] = self._stored[index] = item
        return [wire.OutputItemAdded(index, item, self._number()), wire.OutputItemDone(index, item, self._number())]

    def _listed(self, block: Block) -> Events:
        """Tell which tools a server has: they come in one piece."""
        id, index, _ = self._place("mcpl")
        begun, done = (wire.McpListTools(id, block.server_name, tools) for tools in ([], block.tools))
        self._output[index] = self._stored[index] = done
        return [
            wire.OutputItemAdded(index, begun, self._number()),
            wire.McpListToolsInProgress(id, index, self._number()),
            wire.McpListToolsCompleted(id, index, self._number()),
            wire.OutputItemDone(index, done, self._number()),
        ]

    def _compaction(self) -> Events:
        """Tell of the notes. Those that are cut short are never told: they would stand for all that came before."""
        id, index, _ = self._place("cmp")
        sealed = self._seal(pack(text_block("".join(self._notes))))
        begun, done = (wire.CompactionItem(id, content) for content in ("", sealed))
        self._output[index] = self._stored[index] = done
        return [wire.OutputItemAdded(index, begun, self._number()), wire.OutputItemDone(index, done, self._number())]

    def _reasoning(self, block: Block) -> GrowingReasoning:
        return GrowingReasoning(
            *self._place("rs"),
            data=block.data if block.type == "redacted_thinking" else None,
            seal=self._seal,
            show_summary=self._show_summary,
            show_encrypted=self._show_encrypted,
        )

    def _place(self, prefix: str) -> tuple[str, int, Callable[[], int]]:
        """Return what the next item is made with."""
        self._items += 1
        return self._new_id(prefix), self._items - 1, self._number

    def _go_on(self, delta: Delta) -> Events:
        match self._open:
            case _ if delta.type == "text_delta":
                return self._text(delta.text)
            case GrowingCall() | GrowingCustomCall() | GrowingSearch() as call if (
                self._block == "tool_use" and delta.partial_json
            ):
                return call.add(delta.partial_json)
            case GrowingMcpCall() as asking if self._block == "mcp_tool_use" and delta.partial_json:
                return asking.add(delta.partial_json)
            case GrowingWebSearch() as search if self._block == "server_tool_use":
                return search.add(delta.partial_json)
            case _ if delta.citation:
                # It comes before the text that it is of, which may be the first of its message.
                self._citations.cite(delta.citation)
                return []
            case GrowingReasoning() as thought if self._block == "thinking":
                return thought.add(delta.thinking, delta.signature)
            case _:
                return []

    def _stop_block(self) -> Events:
        """A call and a thought are whole with their block; a message goes on, and what has a result waits for it."""
        match self._open:
            case GrowingMessage() as message if self._block == "text":
                return [told for cited in self._citations.end(message.length) for told in message.cite(cited)]
            case GrowingMcpCall() | GrowingWebSearch() as asking:
                self._open = None
                self._unanswered[asking.use_id] = asking
                return asking.asked()
            case GrowingMessage():
                return []
            case _:
                return self._close()

    def _text(self, text: str) -> Events:
        text = self._unfence.feed(text) if self._unfence else text
        if not text:
            return []
        if self._compact:
            self._notes.append(text)
            return []
        events, message = self._message()
        return events + message.add_text(text)

    def _message(self) -> tuple[Events, GrowingMessage]:
        """Return the message that is open, or a new one and the events that begin it."""
        if isinstance(self._open, GrowingMessage):
            return [], self._open
        closing = self._close()
        message = GrowingMessage(*self._place("msg"))
        return closing + self._start(message), message

    def _start(self, item: Growing) -> Events:
        self._open = item
        return [wire.OutputItemAdded(item.index, item.begun(), self._number())]

    def _close(self, status: wire.ItemStatus = "completed") -> Events:
        """End the open item, if there is one."""
        item, self._open = self._open, None
        return [] if item is None else self._end(item, status)

    def _end(self, item: Growing, status: wire.ItemStatus = "completed") -> Events:
        events = item.close(status)
        done = item.done(status)
        events.append(wire.OutputItemDone(item.index, done, self._number()))
        self._output[item.index] = done
        self._stored[item.index] = item.kept(done)
        return events

    def _finish(self, event: MessageDelta) -> Events:
        if event.delta.stop_reason is None:
            raise ClaudeProtocolError("message_delta without a stop_reason")
        self.stop_reason = event.delta.stop_reason
        self._usage = merge_usage(self._usage, event.usage or {})
        reason = INCOMPLETE.get(finish_reason(self.stop_reason))
        events: Events = []
        if self._unfence and (rest := self._unfence.finish()):
            opening, message = self._message()
            events += [*opening, *message.add_text(rest)]
        explanation = (event.delta.stop_details or {}).get("explanation")
        if reason == "content_filter" and isinstance(explanation, str) and explanation:
            opening, message = self._message()
            events += [*opening, *message.add_refusal(explanation)]
        if reason is None and self._notes:
            events += self._compaction()
        if reason is None and not self._says_something():
            # Apps look for the message in a completed response, and OpenAI's always have one.
            opening, message = self._message()
            events += [*opening, *message.add_text("")]
        events += self._close("completed" if reason is None else "incomplete")
        for unanswered in self._unanswered.values():
            events += self._end(unanswered)
        self._ended = True
        if reason is None:
            response = self._response("completed", completed_at=self._now(), **self._counted())
            return [*events, wire.Completed(response, self._number())]
        details = wire.IncompleteDetails(reason)
        response = self._response("incomplete", incomplete_details=details, **self._counted())
        return [*events, wire.Incomplete(response, self._number())]

    def _says_something(self) -> bool:
        """Whether there is more than thinking."""
        shown = any(not isinstance(item, wire.ReasoningItem | wire.McpListTools) for item in self._output.values())
        return shown or not isinstance(self._open, GrowingReasoning | None)

    def _counted(self) -> dict[str, Any]:
        return {"usage": usage_from(self._usage), "service_tier": service_tier(self._usage)}

    def _response(self, status: wire.ResponseStatus, **fields: Any) -> wire.Response:
        return wire.Response(
            **{**self._echo, **fields},
            id=self._id,
            created_at=self._created_at,
            status=status,
            output=[self._output[index] for index in sorted(self._output)],
        )

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers - 1
