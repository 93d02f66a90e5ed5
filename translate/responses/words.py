"""Rewrites errors of code that both dialects use. That code names the parameters of Chat Completions."""

import re
from collections.abc import Mapping

from translate.errors import OpenAIError


def reworded(error: OpenAIError, words: Mapping[str, str]) -> OpenAIError:
    """Return the error with all ``words`` replaced in its message and its param. ``words`` has at least one entry."""
    # Longer words come first: a word may be the beginning of another.
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
