"""Claude's events -> chunks of a chat completion: a state machine that is fed.

Feed one event, take the chunks it gives. What may follow what is one table; a missing key is the protocol's error. The
answer without streaming is these same chunks folded (:mod:`translate.chat.completion`), so the two cannot disagree.

The answer is complete once a ``message_delta`` has told the stop reason: the engine may cut the process right there
(fact F40). An answer that ends before that is an error, never a short success.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

import msgspec
from msgspec import UNSET

from translate.chat.finish_reason import FinishReason, finish_reason
from translate.chat.wire import (
    ChatCompletionChunk,
    ChunkChoice,
    ChunkDelta,
    FunctionDelta,
    ReasoningDetail,
    ToolCallDelta,
)
from translate.claude_wire import (
    Block,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    Ping,
    decode_event,
)
from translate.cut import Cutter
from translate.fence import FenceStripper
from translate.usage import CompletionUsage, merge_usage, usage_from
from translate.web_search import Citations, UrlCitation


class ClaudeProtocolError(Exception):
    """Claude's events came in an order that they cannot come in, or stopped before the end."""


class State(Enum):
    """Where the stream is."""

    IDLE = auto()
    OPEN = auto()
    IN_BLOCK = auto()
    FINISHED = auto()


TRANSITIONS: dict[tuple[State, type], State] = {
    (State.IDLE, MessageStart): State.OPEN,
    (State.OPEN, ContentBlockStart): State.IN_BLOCK,
    (State.IN_BLOCK, ContentBlockDelta): State.IN_BLOCK,
    (State.IN_BLOCK, ContentBlockStop): State.OPEN,
    (State.OPEN, MessageDelta): State.FINISHED,
    # An answer that max_tokens cuts inside a tool call ends without that block's stop.
    (State.IN_BLOCK, MessageDelta): State.FINISHED,
    **{(state, Ping): state for state in State},
}


class ChatCompletionStream:
    """One answer on its way.

    ``id`` and ``created`` (Unix seconds) are the caller's; ``model`` is what the app asked for.
    After the first event ``claude_model`` is who answers; ``unknown_events`` counts events of types we do not know.
    """

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        include_usage: bool = False,
        legacy_functions: bool = False,
        show_reasoning: bool = False,
        unfence: bool = False,
        index: int = 0,
        cuts: Sequence[str] = (),
    ) -> None:
        self._id = id
        self._created = created
        self._model = model
        self._include_usage = include_usage
        self._legacy_functions = legacy_functions
        self._show_reasoning = show_reasoning
        self._unfence = FenceStripper() if unfence else None
        self._cutter = Cutter(cuts) if cuts else None
        self._index = index
        self._block = ""
        self._length = 0
        self._citations = Citations()
        self._cited: list[UrlCitation] = []
        self._thinking: list[str] = []
        self._signature = ""
        self._reasonings = 0
        self._calls = 0
        self._arguments = False
        self._usage: dict[str, Any] = {}
        self.state = State.IDLE
        self.claude_model: str | None = None
        self.stop_reason: str | None = None
        self.unknown_events = 0

    @property
    def complete(self) -> bool:
        """Whether the stop reason is known, so that nothing the app needs can still come."""
        return self.state is State.FINISHED

    @property
    def usage(self) -> CompletionUsage:
        """What was counted so far."""
        return usage_from(self._usage)

    def feed(self, raw: Mapping[str, Any]) -> list[ChatCompletionChunk]:
        """Return the chunks this event gives: often one, sometimes none; none once the answer is complete.

        Raises ClaudeProtocolError if the event cannot come now, or is not what its type says.
        """
        if self.complete:
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
        if self._cutter and self._cutter.ended and not isinstance(event, MessageDelta):
            # What Claude goes on to say comes after a stop sequence.
            return []
        match event:
            case MessageStart(message=message):
                self.claude_model = message.model
                self._usage = merge_usage({}, message.usage)
                return [self._chunk(ChunkDelta(role="assistant", content="", refusal=None))]
            case ContentBlockStart(content_block=block):
                return self._start_block(block)
            case ContentBlockDelta(delta=delta) if delta.type == "text_delta":
                return self._text(delta.text)
            case ContentBlockDelta(delta=delta) if delta.citation:
                self._citations.cite(delta.citation)
                return []
            case ContentBlockStop() if self._block == "text":
                self._cited += self._citations.end(self._length)
                return []
            case ContentBlockDelta(delta=delta) if self._show_reasoning and (delta.thinking or delta.signature):
                self._thinking.append(delta.thinking)
                self._signature += delta.signature
                return [self._chunk(ChunkDelta(reasoning_content=delta.thinking))] if delta.thinking else []
            case ContentBlockStop() if self._show_reasoning and self._block == "thinking":
                return [self._reasoning(text="".join(self._thinking), signature=self._signature)]
            case ContentBlockDelta(delta=delta) if delta.partial_json and self._block == "tool_use":
                self._arguments = True
                return [self._chunk(self._call(FunctionDelta(arguments=delta.partial_json)))]
            case ContentBlockStop() if self._block == "tool_use" and not self._arguments:
                # A call without arguments: Claude sends nothing, OpenAI an empty object.
                return [self._chunk(self._call(FunctionDelta(arguments="{}")))]
            case MessageDelta():
                return self._finish(event)
            case _:
                return []

    def feed_eof(self) -> None:
        """Say that no event will come. Raises ClaudeProtocolError unless the answer is complete."""
        if not self.complete:
            raise ClaudeProtocolError(f"the events ended while {self.state.name}")

    def _start_block(self, block: Block) -> list[ChatCompletionChunk]:
        """Begin a text or a call. Blocks of any other kind (thinking, server tools, new ones) are not the app's."""
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
        """Return what the text cites.

        They are told in one piece: openai-python's stream cannot add annotations to others, openai-node's replaces
        those that it has.
        """
        return [
            {
                "type": "url_citation",
                "url_citation": {"url": c.url, "title": c.title, "start_index": c.start, "end_index": c.end},
            }
            for c in self._cited
        ]

    def _reasoning(self, **fields: str) -> ChatCompletionChunk:
        """Return a whole block of thinking, so that the app can send it back."""
        detail = ReasoningDetail(
            type="reasoning.encrypted" if "data" in fields else "reasoning.text", index=self._reasonings, **fields
        )
        self._reasonings += 1
        return self._chunk(ChunkDelta(reasoning_details=[detail]))

    def _call(self, function: FunctionDelta, id: str | None = None) -> ChunkDelta:
        """Return a delta of the call that is being made; ``id`` comes with its first."""
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
        if event.delta.stop_reason is None:
            raise ClaudeProtocolError("message_delta without a stop_reason")
        self.stop_reason = event.delta.stop_reason
        self._usage = merge_usage(self._usage, event.usage or {})
        reason = finish_reason(self.stop_reason)
        if self._cutter and self._cutter.ended:
            reason = "stop"
        if reason == "tool_calls" and self._legacy_functions:
            reason = "function_call"
        chunks = [self._chunk(ChunkDelta(), reason)]
        if annotations := self._annotations():
            chunks.insert(0, self._chunk(ChunkDelta(annotations=annotations)))
        if rest := self._rest():
            chunks.insert(0, self._chunk(ChunkDelta(content=rest)))
        explanation = (event.delta.stop_details or {}).get("explanation")
        if reason == "content_filter" and isinstance(explanation, str) and explanation:
            chunks.insert(0, self._chunk(ChunkDelta(refusal=explanation)))
        usage = usage_from(self._usage)
        if self._include_usage:
            chunks.append(
                ChatCompletionChunk(id=self._id, created=self._created, model=self._model, choices=[], usage=usage)
            )
        return chunks

    def _rest(self) -> str:
        """Return the text that was held back."""
        rest = self._unfence.finish() if self._unfence else ""
        return self._cutter.feed(rest) + self._cutter.finish() if self._cutter else rest

    def _chunk(self, delta: ChunkDelta, reason: FinishReason | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[ChunkChoice(index=self._index, delta=delta, finish_reason=reason)],
            usage=None if self._include_usage else UNSET,
        )
