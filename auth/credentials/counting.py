"""Which credentials may count tokens with Anthropic's API (:mod:`engine.token_counter`).

Only an API key may. A login of a Claude subscription, and a token for one, are for Claude Code alone. A cloud has other
addresses and signatures, and a helper's key is known to Claude Code alone.
"""

from collections.abc import Awaitable, Callable, Mapping

from auth.credentials.sources import REHEARSAL, Source, api_url
from engine.late_imports import import_late
from translate.turn import Turn

KEY = "ANTHROPIC_API_KEY"

OAUTH_TOKEN = "sk-ant-oat"  # noqa: S105
"""The beginning of a token of a Claude subscription. Someone may have put it into the variable for keys."""


def counter_for(source: Source, environ: Mapping[str, str]) -> Callable[[Turn], Awaitable[int | None]] | None:
    """Return a function that counts tokens with the API key of ``environ``, which is Claude Code's environment.

    None if the credentials are of another kind.
    """
    key, url = environ.get(KEY, "").strip(), api_url(source, environ)
    if not (source.name == "api-key" or source is REHEARSAL) or not key or key.startswith(OAUTH_TOKEN) or url is None:
        return None

    async def count(turn: Turn) -> int | None:
        # Not at the top of the file: it imports httpx.
        await import_late("engine.token_counter")
        from engine.token_counter import TokenCounter

        return await TokenCounter(url, key, environ)(turn)

    return count
