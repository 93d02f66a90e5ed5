"""The streams that answer a chat completion request: one for each choice."""

from translate.chat.request import Translated
from translate.chat.stream import ChatCompletionStream


def chat_streams(
    translated: Translated, *, id: str, created: int, version: str = "", show_reasoning: bool = False
) -> list[ChatCompletionStream]:
    """Return the streams. ``id`` and ``created`` (Unix seconds) are the same in the chunks of all choices.

    ``version`` is Understudy's, for ``system_fingerprint``.
    """
    asked = translated.request
    return [
        ChatCompletionStream(
            id=id,
            created=created,
            model=asked.model,
            version=version,
            # A complete answer always has its usage. A stream has it if the app asks for it.
            include_usage=not asked.stream or bool(asked.stream_options and asked.stream_options.include_usage),
            legacy_functions=translated.legacy_functions,
            show_reasoning=show_reasoning,
            cuts=translated.cuts,
            unfence=translated.unfence,
            index=index,
        )
        for index in range(asked.n or 1)
    ]
