"""What the two dialects share is written once, in Chat Completions' words; errors from there are put into these."""

import re
from collections.abc import Mapping

from translate.errors import OpenAIError


def reworded(error: OpenAIError, words: Mapping[str, str]) -> OpenAIError:
    """Return the error with each of ``words`` (there is at least one) replaced in its message and its param, once."""
    # Longer words first, so that one that begins another does not hide it.
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))

    def put(text: str) -> str:
        return pattern.sub(lambda match: words[match.group()], text)

    return OpenAIError(
        put(error.message),
        status=error.status,
        type=error.type,
        param=None if error.param is None else put(error.param),
        code=error.code,
    )
