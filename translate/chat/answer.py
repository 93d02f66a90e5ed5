"""What answers a chat completion request: a state machine for each choice that was asked for."""

from translate.chat.request import Translated
from translate.chat.stream import ChatCompletionStream


def chat_streams(
    translated: Translated, *, id: str, created: int, show_reasoning: bool = False
) -> list[ChatCompletionStream]:
    """Return them. ``id`` and ``created`` (Unix seconds) are the answer's; each choice's chunks have them."""
    asked = translated.request
    return [
        ChatCompletionStream(
            id=id,
            created=created,
            model=asked.model,
            # The folded answer always has its usage; a stream has it when asked for.
            include_usage=not asked.stream or bool(asked.stream_options and asked.stream_options.include_usage),
            legacy_functions=translated.legacy_functions,
            show_reasoning=show_reasoning,
            cuts=translated.cuts,
            unfence=translated.unfence,
            index=index,
        )
        for index in range(asked.n or 1)
    ]
