"""Makes the body of an answer that is not streamed from its chunks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from translate.chat.finish_reason import FinishReason
from translate.chat.wire import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    Choice,
    ChunkChoice,
    Function,
    FunctionDelta,
    ReasoningDetail,
    ToolCall,
)
from translate.usage import CompletionUsage


@dataclass(slots=True)
class _Call:
    """One call, built from its deltas."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, delta: FunctionDelta) -> None:
        if delta.name is not UNSET:
            self.name = delta.name
        if delta.arguments is not UNSET:
            self.arguments.append(delta.arguments)

    def function(self) -> Function:
        return Function(name=self.name, arguments="".join(self.arguments))


@dataclass(slots=True)
class _Message:
    """The message of one choice, built from its deltas."""

    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    details: list[ReasoningDetail] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    function_call: _Call | None = None
    reason: FinishReason | None = None

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        if delta.content is not UNSET and delta.content is not None:
            self.content.append(delta.content)
        if delta.refusal is not UNSET and delta.refusal is not None:
            self.refusal.append(delta.refusal)
        if delta.reasoning_content is not UNSET:
            self.reasoning.append(delta.reasoning_content)
        if delta.reasoning_details is not UNSET:
            self.details += delta.reasoning_details
        if delta.annotations is not UNSET:
            self.annotations += delta.annotations
        for part in delta.tool_calls if delta.tool_calls is not UNSET else ():
            call = self.calls.setdefault(part.index, _Call())
            if part.id is not UNSET:
                call.id = part.id
            call.add(part.function)
        if delta.function_call is not UNSET:
            self.function_call = self.function_call or _Call()
            self.function_call.add(delta.function_call)
        self.reason = choice.finish_reason or self.reason

    def choice(self, index: int) -> Choice:
        """Return the complete choice. Raises ValueError if it has no finish_reason."""
        if self.reason is None:
            raise ValueError("the chunks are not a complete answer")
        calls = [ToolCall(id=call.id, function=call.function()) for _, call in sorted(self.calls.items())]
        text = "".join(self.content)
        message = ChatCompletionMessage(
            # At OpenAI, content is null if there are only calls.
            content=None if not text and (calls or self.function_call or self.refusal) else text,
            refusal="".join(self.refusal) or None,
            annotations=self.annotations,
            reasoning_content="".join(self.reasoning) or UNSET,
            reasoning_details=self.details or UNSET,
            tool_calls=calls or UNSET,
            function_call=self.function_call.function() if self.function_call else UNSET,
        )
        return Choice(index=index, message=message, finish_reason=self.reason)


def fold(chunks: Iterable[ChatCompletionChunk], *, usage: CompletionUsage | None = None) -> ChatCompletion:
    """Return the completion that these chunks are the stream of.

    ``usage`` is needed if the chunks have none, because the app did not ask for it.

    Raises ValueError if the chunks are not complete: if there is no chunk, no finish_reason or no usage.
    """
    messages: dict[int, _Message] = {}
    last: ChatCompletionChunk | None = None
    for chunk in chunks:
        last = chunk
        if chunk.usage is not UNSET and chunk.usage is not None:
            usage = chunk.usage
        for choice in chunk.choices:
            messages.setdefault(choice.index, _Message()).add(choice)
    if last is None or usage is None or not messages:
        raise ValueError("the chunks are not a complete answer")
    return ChatCompletion(
        id=last.id,
        created=last.created,
        model=last.model,
        choices=[message.choice(index) for index, message in sorted(messages.items())],
        usage=usage,
        service_tier=last.service_tier,
        system_fingerprint=last.system_fingerprint,
    )
