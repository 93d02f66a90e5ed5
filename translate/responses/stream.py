"""Claude's events -> events of a response.

Feed one event, and take the events that it gives, numbered and in OpenAI's order. An answer that is not streamed is the
last of these events (:mod:`translate.responses.fold`), so both ways give the same answer.
:mod:`translate.claude_stream` checks the order of Claude's events.

Theory of operation
-------------------
The output of a response is a list of items, and at most one item is open at a time. Claude's content blocks become
items: thinking becomes a reasoning item, ``tool_use`` a function call, and text a message. Claude may split its text
into several blocks, for citations or around the work of server tools. Those blocks continue the same message. So a
message is closed only when another item begins or the answer ends. Web searches and calls of MCP servers wait for their
results beside the open item, and several can wait at once. Blocks of other types give the app nothing.

An answer that ends before its stop reason is an error, and the caller ends the response with
:meth:`ResponseStream.failed`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from translate import web_search
from translate.chat.finish_reason import finish_reason
from translate.claude_stream import ClaudeStream, explanation
from translate.claude_wire import (
    Block,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    MessageDelta,
    MessageStart,
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
from translate.responses.usage import tool_usage_from, usage_from
from translate.usage import service_tier
from translate.web_search import Citations

# finish_reason of a chat completion -> why a response is incomplete. With any other reason it is complete.
INCOMPLETE: dict[str, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}

# The code of an OpenAIError -> the code of `response.error`. All others become `server_error`.
ERROR_CODES: dict[str, wire.ErrorCode] = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "insufficient_quota": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "request_too_large": "invalid_prompt",
}


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """What a request decides about its answer.

    ``echo`` are the fields that the response repeats. ``show_summary`` adds a summary of the thinking, and
    ``show_encrypted`` the thinking itself, encrypted. ``unfence`` removes a code fence around JSON. ``show_sources``
    adds every page that a web search found, not only the cited ones. ``compact`` makes of the text an encrypted summary
    of the conversation. ``tools`` are the app's tools that are not plain functions, by Claude's names for them.
    """

    echo: wire.Echo
    show_summary: bool = False
    show_encrypted: bool = False
    unfence: bool = False
    show_sources: bool = False
    compact: bool = False
    tools: Mapping[str, Offered] = field(default_factory=dict)


class ResponseStream(ClaudeStream):
    """One response, as a stream.

    ``created_at`` is in Unix seconds. ``new_id`` returns a new id for an item with a prefix such as ``msg``, ``rs`` or
    ``fc``. ``now`` returns the time, in Unix seconds. ``seal`` encrypts a content block so that only this proxy can
    read it.
    """

    def __init__(
        self,
        options: ResponseOptions,
        *,
        id: str,
        created_at: int,
        new_id: Callable[[str], str],
        now: Callable[[], int],
        seal: Callable[[bytes], str],
    ) -> None:
        super().__init__()
        self._options = options
        self._id = id
        self._created_at = created_at
        self._echo = {name: getattr(options.echo, name) for name in options.echo.__struct_fields__}
        self._new_id = new_id
        self._now = now
        self._seal = seal
        self._unfence = FenceStripper() if options.unfence else None
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

    @property
    def complete(self) -> bool:
        """Whether the response has ended and has not failed. Nothing that the app needs can come after it."""
        return self._ended and not self._failed

    @property
    def stored(self) -> list[wire.OutputItem]:
        """The finished items as they are stored: with encrypted thinking, whether or not the app asked for it."""
        return [self._stored[index] for index in sorted(self._stored)]

    def feed(self, raw: Mapping[str, Any]) -> Events:
        """Return the events that this event gives: often one, sometimes none, and none after the response has ended.

        Raises ClaudeProtocolError if the event cannot come now, or has not the form of its type.
        """
        if self._ended:
            return []
        match self._read(raw):
            case MessageStart():
                return self._begin()
            case ContentBlockStart(content_block=block):
                return self._start_block(block)
            case ContentBlockDelta(delta=delta):
                return self._go_on(delta)
            case ContentBlockStop() if self._input:
                whole = Delta("input_json_delta", partial_json=self._input)
                return [*self._go_on(whole), *self._stop_block()]
            case ContentBlockStop():
                return self._stop_block()
            case MessageDelta() as end:
                return self._finish(end)
            case _:
                return []

    def failed(self, error: OpenAIError) -> Events:
        """Return the events that end a response that broke off. Its output are the items that were finished.

        Raises ValueError if the response has already ended.
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
        """Return the response before the work on it begins. There is no event for that state."""
        return self._response("queued")

    def warmed(self) -> Events:
        """Return the events of a response for which nothing is generated."""
        events = self._begin()
        self._ended = True
        response = self._response("completed", completed_at=self._now(), **self._counted())
        return [*events, wire.Completed(response, self._number())]

    def _begin(self) -> Events:
        self._begun = True
        response = self._response("in_progress")
        return [wire.Created(response, self._number()), wire.InProgress(response, self._number())]

    def _start_block(self, block: Block) -> Events:
        """Begin the item of a block. Blocks of unknown types, and of other server tools, give the app nothing."""
        self._block = block.type
        if block.type == "text":
            self._citations.begin(self._open.length if isinstance(self._open, GrowingMessage) else 0)
            return self._text(block.text)
        if block.type == "server_tool_use" and block.name == web_search.NAME:
            closing = self._close()
            search = GrowingWebSearch(*self._place("ws"), use_id=block.id, show_sources=self._options.show_sources)
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
        if block.type in ("thinking", "redacted_thinking") and not self._options.compact:
            closing = self._close()
            return closing + self._start(self._reasoning(block))
        return []

    def _call(self, block: Block) -> GrowingUse:
        tool = self._options.tools.get(block.name) or Offered(block.name)
        match tool.kind:
            case "custom":
                return GrowingCustomCall(*self._place("ctc"), call_id=block.id, tool=tool)
            case "tool_search":
                return GrowingSearch(*self._place("tsc"), call_id=block.id)
            case "function":
                return GrowingCall(*self._place("fc"), call_id=block.id, tool=tool)

    def _found(self, name: str) -> Events:
        """Return the tool search that would have found this tool, if the tool is deferred and was not found before."""
        deferred = self._options.tools[name].deferred if name in self._options.tools else None
        if deferred is None or deferred["name"] in self._loaded:
            return []
        self._loaded.add(deferred["name"])
        call, index, _ = self._place("tsc")
        paths = {"paths": [deferred["name"]]}
        events = self._whole(index, wire.ToolSearchCall(call, None, paths, "completed", "server"))
        output, index, _ = self._place("tso")
        return events + self._whole(index, wire.ToolSearchOutput(output, [deferred], "completed"))

    def _whole(self, index: int, item: wire.OutputItem) -> Events:
        """Return the events of an item that is complete at once."""
        self._output[index] = self._stored[index] = item
        return [wire.OutputItemAdded(index, item, self._number()), wire.OutputItemDone(index, item, self._number())]

    def _listed(self, block: Block) -> Events:
        """Return the events of the list of an MCP server's tools."""
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
        """Return the events of the summary. An incomplete summary is never sent: it would replace the conversation."""
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
            show_summary=self._options.show_summary,
            show_encrypted=self._options.show_encrypted,
        )

    def _place(self, prefix: str) -> tuple[str, int, Callable[[], int]]:
        """Return the id, the index and the event counter for the next item."""
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
                # A citation comes before its text, which may be the first text of its message.
                self._citations.cite(delta.citation)
                return []
            case GrowingReasoning() as thought if self._block == "thinking":
                return thought.add(delta.thinking, delta.signature)
            case _:
                return []

    def _stop_block(self) -> Events:
        """Close a call or thinking. A message stays open, and a search or MCP call waits for its result."""
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
        if self._options.compact:
            self._notes.append(text)
            return []
        events, message = self._message()
        return events + message.add_text(text)

    def _message(self) -> tuple[Events, GrowingMessage]:
        """Return the open message, or a new one and the events that begin it."""
        if isinstance(self._open, GrowingMessage):
            return [], self._open
        closing = self._close()
        message = GrowingMessage(*self._place("msg"))
        return closing + self._start(message), message

    def _start(self, item: Growing) -> Events:
        self._open = item
        return [wire.OutputItemAdded(item.index, item.begun(), self._number())]

    def _close(self, status: wire.ItemStatus = "completed", phase: wire.Phase | None = "commentary") -> Events:
        """Close the open item, if there is one. ``phase`` is that of a message: more follows, unless it is the last."""
        item, self._open = self._open, None
        if isinstance(item, GrowingMessage):
            item.phase = phase
        return [] if item is None else self._end(item, status)

    def _end(self, item: Growing, status: wire.ItemStatus = "completed") -> Events:
        events = item.close(status)
        done = item.done(status)
        events.append(wire.OutputItemDone(item.index, done, self._number()))
        self._output[item.index] = done
        self._stored[item.index] = item.kept(done)
        return events

    def _finish(self, event: MessageDelta) -> Events:
        reason = INCOMPLETE.get(finish_reason(self.stop_reason or ""))
        events: Events = []
        if self._unfence and (rest := self._unfence.finish()):
            opening, message = self._message()
            events += [*opening, *message.add_text(rest)]
        if reason == "content_filter" and (refusal := explanation(event)):
            opening, message = self._message()
            events += [*opening, *message.add_refusal(refusal)]
        if reason is None and self._notes:
            events += self._compaction()
        if reason is None and not self._says_something():
            # Apps expect a message in a completed response, because OpenAI's always have one.
            opening, message = self._message()
            events += [*opening, *message.add_text("")]
        if reason is None:
            events += self._close(phase="commentary" if self.stop_reason == "tool_use" else "final_answer")
        else:
            events += self._close("incomplete", phase=None)
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
        """Whether the output has more than thinking and lists of tools."""
        shown = any(not isinstance(item, wire.ReasoningItem | wire.McpListTools) for item in self._output.values())
        return shown or not isinstance(self._open, GrowingReasoning | None)

    def _counted(self) -> dict[str, Any]:
        return {
            "usage": usage_from(self._usage),
            "service_tier": service_tier(self._usage),
            "tool_usage": tool_usage_from(self._usage),
        }

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
