"""Claude's events -> chunks of a chat completion.

Feed one event, and take the chunks that it gives. An answer that is not streamed is made of the same chunks
(:mod:`translate.chat.completion`), so both ways give the same answer. :mod:`translate.claude_stream` checks the order
of the events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from translate.chat.fingerprint import fingerprint
from translate.chat.finish_reason import FinishReason, finish_reason
from translate.chat.wire import (
    ChatCompletionChunk,
    ChunkChoice,
    ChunkDelta,
    FunctionDelta,
    ReasoningDetail,
    ToolCallDelta,
)
from translate.claude_stream import ClaudeStream, explanation
from translate.claude_wire import (
    Block,
    ClaudeEvent,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    MessageDelta,
    MessageStart,
)
from translate.cut import Cutter
from translate.fence import FenceStripper
from translate.usage import CompletionUsage, service_tier, usage_from
from translate.web_search import Citations, UrlCitation


class ChatCompletionStream(ClaudeStream):
    """One choice of a chat completion, as a stream.

    ``id`` and ``created`` (Unix seconds) are part of every chunk. ``model`` is the name that the app asked for, and
    ``version`` is Understudy's.
    ``include_usage`` adds a chunk with the usage. ``legacy_functions`` gives ``function_call`` instead of
    ``tool_calls``. ``show_reasoning`` adds Claude's thinking. ``unfence`` removes a code fence around the text.
    ``index`` is the number of the choice. ``cuts`` are stop sequences that Claude does not accept: the text ends before
    the first.
    """

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        version: str = "",
        include_usage: bool = False,
        legacy_functions: bool = False,
        show_reasoning: bool = False,
        unfence: bool = False,
        index: int = 0,
        cuts: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._id = id
        self._created = created
        self._model = model
        self._version = version
        self._include_usage = include_usage
        self._legacy_functions = legacy_functions
        self._show_reasoning = show_reasoning
        self._unfence = FenceStripper() if unfence else None
        self._cutter = Cutter(cuts) if cuts else None
        self._index = index
        self._begun = False
        self._fingerprint: str | None = None
        self._block = ""
        self._length = 0
        self._citations = Citations()
        self._cited: list[UrlCitation] = []
        self._thinking: list[str] = []
        self._signature = ""
        self._reasonings = 0
        self._calls = 0
        self._arguments = False

    @property
    def usage(self) -> CompletionUsage:
        """The tokens counted so far."""
        return usage_from(self._usage)

    def feed(self, raw: Mapping[str, Any]) -> list[ChatCompletionChunk]:
        """Return the chunks that this event gives: often one, sometimes none, and none after the answer is complete.

        Raises ClaudeProtocolError if the event cannot come now, or has not the form of its type.
        """
        if self.complete:
            return []
        event = self._read(raw)
        if event is None:
            return []
        if self._cutter and self._cutter.ended and not isinstance(event, MessageDelta):
            # The text after a stop sequence is not the app's.
            return []
        return self._with_role(self._given(event))

    def _given(self, event: ClaudeEvent) -> list[ChatCompletionChunk]:
        match event:
            case MessageStart(message=message):
                self._fingerprint = fingerprint(message.model, self._version)
                return []
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

    def _with_role(self, chunks: list[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
        """Return the chunks with the role before the first of them, or in it.

        Where the answer begins with text, OpenAI sends the role with an empty text. Where it begins with a call, it
        sends null, and apps take an empty text for a text. So the role is not sent before the first piece is there.
        """
        if self._begun or not chunks:
            return chunks
        self._begun = True
        first = chunks[0].choices[0].delta
        if first.tool_calls is not UNSET or first.function_call is not UNSET:
            delta = replace(first, role="assistant", content=None, refusal=None)
            return [self._chunk(delta), *chunks[1:]]
        has_text = first == ChunkDelta() or first.content is not UNSET
        return [self._chunk(ChunkDelta(role="assistant", content="" if has_text else None, refusal=None)), *chunks]

    def _go_on(self, delta: Delta) -> list[ChatCompletionChunk]:
        if delta.type == "text_delta":
            return self._text(delta.text)
        if delta.citation:
            self._citations.cite(delta.citation)
        elif self._show_reasoning and (delta.thinking or delta.signature):
            self._thinking.append(delta.thinking)
            self._signature += delta.signature
            return [self._chunk(ChunkDelta(reasoning_content=delta.thinking))] if delta.thinking else []
        elif delta.partial_json and self._block == "tool_use":
            self._arguments = True
            return [self._chunk(self._call(FunctionDelta(arguments=delta.partial_json)))]
        return []

    def _stop_block(self) -> list[ChatCompletionChunk]:
        match self._block:
            case "text":
                self._cited += self._citations.end(self._length)
            case "thinking" if self._show_reasoning:
                return [self._reasoning(text="".join(self._thinking), signature=self._signature)]
            case "tool_use" if not self._arguments:
                # For a call without arguments Claude sends nothing, and OpenAI sends an empty object.
                return [self._chunk(self._call(FunctionDelta(arguments=self._input or "{}")))]
            case _:
                pass
        return []

    def _start_block(self, block: Block) -> list[ChatCompletionChunk]:
        """Begin a text, a call or thinking. Blocks of other types (such as server tools) give the app nothing."""
        self._block = block.type
        if block.type == "text":
            self._citations.begin(self._length)
            return self._text(block.text)
        if block.type == "tool_use":
            self._calls += 1
            self._arguments = False
            return [self._chunk(self._call(FunctionDelta(name=block.name, arguments=""), id=block.id))]
        if block.type == "thinking":
            self._thinking, self._signature = [], ""
        if block.type == "redacted_thinking" and self._show_reasoning:
            return [self._reasoning(data=block.data)]
        return []

    def _text(self, text: str) -> list[ChatCompletionChunk]:
        text = self._unfence.feed(text) if self._unfence else text
        text = self._cutter.feed(text) if self._cutter else text
        self._length += len(text)
        return [self._chunk(ChunkDelta(content=text))] if text else []

    def _annotations(self) -> list[dict[str, Any]]:
        """Return the citations of the text.

        They are sent together: openai-python's stream helper cannot add annotations to others, and openai-node's
        replaces those that it has.
        """
        return [
            {
                "type": "url_citation",
                "url_citation": {"url": c.url, "title": c.title, "start_index": c.start, "end_index": c.end},
            }
            for c in self._cited
        ]

    def _reasoning(self, **fields: str) -> ChatCompletionChunk:
        """Return a chunk with a complete block of thinking, so that the app can send it back."""
        detail = ReasoningDetail(
            type="reasoning.encrypted" if "data" in fields else "reasoning.text", index=self._reasonings, **fields
        )
        self._reasonings += 1
        return self._chunk(ChunkDelta(reasoning_details=[detail]))

    def _call(self, function: FunctionDelta, id: str | None = None) -> ChunkDelta:
        """Return a delta of the present call. The first delta of a call has its ``id``."""
        if self._legacy_functions:
            return ChunkDelta(function_call=function)
        call = ToolCallDelta(
            index=self._calls - 1,
            id=UNSET if id is None else id,
            type=UNSET if id is None else "function",
            function=function,
        )
        return ChunkDelta(tool_calls=[call])

    def _finish(self, event: MessageDelta) -> list[ChatCompletionChunk]:
        reason = finish_reason(self.stop_reason or "")
        if self._cutter and self._cutter.ended:
            reason = "stop"
        if reason == "tool_calls" and self._legacy_functions:
            reason = "function_call"
        chunks = [self._chunk(ChunkDelta(), reason)]
        if annotations := self._annotations():
            chunks.insert(0, self._chunk(ChunkDelta(annotations=annotations)))
        if rest := self._rest():
            chunks.insert(0, self._chunk(ChunkDelta(content=rest)))
        if reason == "content_filter" and (refusal := explanation(event)):
            chunks.insert(0, self._chunk(ChunkDelta(refusal=refusal)))
        if self._include_usage:
            chunks.append(replace(chunks[-1], choices=[], usage=usage_from(self._usage)))
        return chunks

    def _rest(self) -> str:
        """Return the text that was held back until the end was known."""
        rest = self._unfence.finish() if self._unfence else ""
        return self._cutter.feed(rest) + self._cutter.finish() if self._cutter else rest

    def _chunk(self, delta: ChunkDelta, reason: FinishReason | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self._id,
            created=self._created,
            model=self._model,
            service_tier=service_tier(self._usage),
            system_fingerprint=self._fingerprint,
            choices=[ChunkChoice(index=self._index, delta=delta, finish_reason=reason)],
            usage=None if self._include_usage else UNSET,
        )
