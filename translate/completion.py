"""Chunks folded into the one body that an app gets when it does not stream."""

from collections.abc import Iterable

from msgspec import UNSET

from translate.finish_reason import FinishReason
from translate.openai_wire import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, Choice
from translate.usage import CompletionUsage


def fold(chunks: Iterable[ChatCompletionChunk]) -> ChatCompletion:
    """Return the completion whose stream these chunks are. They must be complete and carry usage.

    Raises ValueError if there is no chunk, no finish_reason or no usage among them.
    """
    content: list[str] = []
    reason: FinishReason | None = None
    usage: CompletionUsage | None = None
    last: ChatCompletionChunk | None = None
    for chunk in chunks:
        last = chunk
        if chunk.usage is not UNSET and chunk.usage is not None:
            usage = chunk.usage
        for choice in chunk.choices:
            if choice.delta.content is not UNSET and choice.delta.content is not None:
                content.append(choice.delta.content)
            reason = choice.finish_reason or reason
    if last is None or reason is None or usage is None:
        raise ValueError("the chunks are not a complete answer")
    message = ChatCompletionMessage(content="".join(content))
    return ChatCompletion(
        id=last.id,
        created=last.created,
        model=last.model,
        choices=[Choice(index=0, message=message, finish_reason=reason)],
        usage=usage,
    )
