"""An app with an unmodified client: `python -m bench.app openai`, `… anthropic`, or `… sdk` for the SDK.

Like any app, it is configured only by environment variables. For each line on stdin it sends one request, always with
the same client, and prints an :class:`Answer` as a line of JSON.
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
from typing import TYPE_CHECKING, Any, cast

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, StreamEvent
from openai import OpenAI

from engine.sdk import ENVIRONMENT

if TYPE_CHECKING:
    from anthropic import Anthropic

PROMPT = "Count, please."
OPENAI_MODEL = "gpt-4o-mini"
CLAUDE_MODEL = "claude-haiku-4-5"


@dataclass(frozen=True, slots=True)
class Answer:
    """The observations of a client: the time of the request, and (time, length) of each non-empty piece of text.

    Times are ``time.monotonic()``. ``process`` says how Understudy got its ``claude`` process; None if unknown.
    """

    asked_at: float
    pieces: list[tuple[float, int]]
    process: str | None = None


def timed(texts: Iterator[str | None]) -> list[tuple[float, int]]:
    """Read the texts as they come, and return (time, length) of each non-empty one."""
    return [(time.monotonic(), len(text)) for text in texts if text]


def ask_openai(client: OpenAI, system: str | None = None) -> Answer:
    """Send a request as in OpenAI's documentation."""
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    asked_at = time.monotonic()
    stream = client.chat.completions.create(model=OPENAI_MODEL, messages=messages, stream=True)
    pieces = timed(choice.delta.content for chunk in stream for choice in chunk.choices)
    return Answer(asked_at, pieces, stream.response.headers.get("x-understudy-process"))


class Continued:
    """A continued chat. The app sends all of it each time, or, with a session, only the new message."""

    def __init__(self, session: str | None = None) -> None:
        self._client = OpenAI(max_retries=0)
        self._messages: list[Any] = []
        self._headers = {"x-understudy-session": session} if session else {}

    def ask(self) -> Answer:
        """Ask once more."""
        said: Any = {"role": "user", "content": PROMPT}
        messages: list[Any] = [said] if self._headers else [*self._messages, said]
        asked_at = time.monotonic()
        stream = self._client.chat.completions.create(
            model=OPENAI_MODEL, messages=messages, stream=True, extra_headers=self._headers
        )
        texts = Taken(choice.delta.content for chunk in stream for choice in chunk.choices)
        pieces = timed(texts)
        self._messages += [said, {"role": "assistant", "content": texts.text}]
        return Answer(asked_at, pieces, stream.response.headers.get("x-understudy-process"))


class Taken:
    """Passes texts on, and keeps them."""

    def __init__(self, texts: Iterator[str | None]) -> None:
        self._texts = texts
        self.text = ""

    def __iter__(self) -> "Taken":
        return self

    def __next__(self) -> str | None:
        text = next(self._texts)
        self.text += text or ""
        return text


class Responses:
    """The Responses API: each request is independent, or continues the one before."""

    def __init__(self, *, store: bool = True, goes_on: bool = False) -> None:
        self._client = OpenAI(max_retries=0)
        self._store = store
        self._goes_on = goes_on
        self._last: str | None = None

    def ask(self) -> Answer:
        """Ask once."""
        asked_at = time.monotonic()
        stream = self._client.responses.create(
            model=OPENAI_MODEL, input=PROMPT, stream=True, store=self._store, previous_response_id=self._last
        )
        return Answer(asked_at, timed(self._texts(stream)), stream.response.headers.get("x-understudy-process"))

    def _texts(self, events: Any) -> Iterator[str | None]:
        for event in events:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.completed" and self._goes_on:
                self._last = event.response.id


class OverWebSocket:
    """The Responses API over one WebSocket."""

    def __init__(self) -> None:
        self._connection = OpenAI(max_retries=0).responses.connect().enter()

    def ask(self) -> Answer:
        """Ask once."""
        asked_at = time.monotonic()
        self._connection.response.create(model=OPENAI_MODEL, input=PROMPT, store=False)
        return Answer(asked_at, timed(self._texts()))

    def _texts(self) -> Iterator[str | None]:
        for event in self._connection:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.completed":
                return


def ask_anthropic(client: "Anthropic") -> Answer:
    """Send a request as in Anthropic's documentation."""
    asked_at = time.monotonic()
    stream = client.messages.create(
        model=CLAUDE_MODEL, max_tokens=1000, messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    return Answer(asked_at, timed(cast(str, getattr(getattr(event, "delta", None), "text", "")) for event in stream))


def asker(name: str) -> Callable[[], Answer]:
    """Make the named client. Return a function that sends one request with it."""
    if name == "openai":
        openai = OpenAI(max_retries=0)
        return lambda: ask_openai(openai)
    if name == "openai-new-system":
        # No process has this system prompt, so a new one must answer.
        openai, numbers = OpenAI(max_retries=0), itertools.count()
        return lambda: ask_openai(openai, f"You are number {next(numbers)}.")
    others: dict[str, Callable[[], Callable[[], Answer]]] = {
        "openai-responses": lambda: Responses().ask,
        "openai-unstored": lambda: Responses(store=False).ask,
        "openai-websocket": lambda: OverWebSocket().ask,
        "openai-continued": lambda: Continued().ask,
        "openai-previous": lambda: Responses(goes_on=True).ask,
        "openai-session": lambda: Continued("the-one").ask,
    }
    if name in others:
        return others[name]()
    from anthropic import Anthropic  # imported here: it takes seconds, and the other clients do not need it

    anthropic = Anthropic(max_retries=0)
    return lambda: ask_anthropic(anthropic)


async def sdk(kind: str) -> None:
    """Send a request with the SDK for each line, with the same client or with a new one that is connected."""
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
    """Return the same options as the engine uses, as far as the SDK's own client has them."""
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
