"""An app that asks with an unmodified client: `python -m bench.app openai`, `… anthropic`, or the SDK: `… sdk`.

All that it knows of its surroundings is its environment, as with any app. For each line on its input it asks once, on
a client that is kept, and prints a line of JSON: what :class:`Answer` holds.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from anthropic import Anthropic
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, StreamEvent
from openai import OpenAI

from engine.sdk import ENVIRONMENT

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


def ask_openai(client: OpenAI, system: str | None = None) -> Answer:
    """Ask as OpenAI's own documentation does."""
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    asked_at = time.monotonic()
    stream = client.chat.completions.create(model=OPENAI_MODEL, messages=messages, stream=True)
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
    if name == "openai-new-system":
        # No process has this system prompt: it is a fresh one that answers.
        openai, numbers = OpenAI(max_retries=0), itertools.count()
        return lambda: ask_openai(openai, f"You are number {next(numbers)}.")
    anthropic = Anthropic(max_retries=0)
    return lambda: ask_anthropic(anthropic)


async def sdk(kind: str) -> None:
    """Ask once for each line with the SDK itself: on one client that is kept, or on a new one connected beforehand."""
    options = sdk_options()
    client = ClaudeSDKClient(options)
    await client.connect()
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        asked_at = time.monotonic()
        await client.query(PROMPT)
        pieces = [
            (time.monotonic(), len(text))
            async for message in client.receive_response()
            if isinstance(message, StreamEvent) and (text := message.event.get("delta", {}).get("text"))
        ]
        print(json.dumps(asdict(Answer(asked_at, pieces))), flush=True)
        if kind == "sdk-prewarmed":
            await client.disconnect()
            client = ClaudeSDKClient(options)
            await client.connect()


def sdk_options() -> ClaudeAgentOptions:
    """Return options that ask for what the engine asks for, as far as the SDK's own client can."""
    return ClaudeAgentOptions(
        model=CLAUDE_MODEL,
        tools=[],
        setting_sources=[],
        strict_mcp_config=True,
        include_partial_messages=True,
        verbatim_prompts=True,
        cwd=os.environ["HOME"],
        env={**ENVIRONMENT, "CLAUDE_CONFIG_DIR": str(Path(os.environ["HOME"]) / "claude")},
        extra_args={"bare": None, "no-session-persistence": None},
    )


def main() -> None:
    """Ask once for each line."""
    if sys.argv[1].startswith("sdk"):
        asyncio.run(sdk(sys.argv[1]))
        return
    ask = asker(sys.argv[1])
    for _ in sys.stdin:
        print(json.dumps(asdict(ask())), flush=True)


if __name__ == "__main__":
    main()
