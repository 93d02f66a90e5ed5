"""An app that asks with an unmodified client: `python -m bench.app openai` or `… anthropic`.

All that it knows of its surroundings is its environment, as with any app. For each line on its input it asks once, on
a client that is kept, and prints a line of JSON: what :class:`Answer` holds.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import cast

from anthropic import Anthropic
from openai import OpenAI

PROMPT = "Count, please."
OPENAI_MODEL = "gpt-4o-mini"
CLAUDE_MODEL = "claude-haiku-4-5"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client saw: when it asked, and each non-empty piece of text, when and how long (``time.monotonic()``).

    ``process`` is how Understudy says that it came by its Claude Code process; None where nothing says so.
    """

    asked_at: float
    pieces: list[tuple[float, int]]
    process: str | None = None


def timed(texts: Iterator[str | None]) -> list[tuple[float, int]]:
    """Take the texts as they come and note when each that is not empty came."""
    return [(time.monotonic(), len(text)) for text in texts if text]


def ask_openai(client: OpenAI) -> Answer:
    """Ask as OpenAI's own documentation does."""
    asked_at = time.monotonic()
    stream = client.chat.completions.create(
        model=OPENAI_MODEL, messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    pieces = timed(choice.delta.content for chunk in stream for choice in chunk.choices)
    return Answer(asked_at, pieces, stream.response.headers.get("x-understudy-process"))


def ask_anthropic(client: Anthropic) -> Answer:
    """Ask as Anthropic's own documentation does."""
    asked_at = time.monotonic()
    stream = client.messages.create(
        model=CLAUDE_MODEL, max_tokens=1000, messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    return Answer(asked_at, timed(cast(str, getattr(getattr(event, "delta", None), "text", "")) for event in stream))


def asker(name: str) -> Callable[[], Answer]:
    """Return what asks once, with the client that is named, made once."""
    if name == "openai":
        openai = OpenAI(max_retries=0)
        return lambda: ask_openai(openai)
    anthropic = Anthropic(max_retries=0)
    return lambda: ask_anthropic(anthropic)


def main() -> None:
    """Ask once for each line."""
    ask = asker(sys.argv[1])
    for _ in sys.stdin:
        print(json.dumps(asdict(ask())), flush=True)


if __name__ == "__main__":
    main()
