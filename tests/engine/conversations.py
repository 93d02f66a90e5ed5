"""Conversations at random, and what the API must receive of them: each its own, whatever process serves it."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.pool import Pool
from rehearsal.reply import Reply, ToolCall
from translate.turn import ContentBlock, Message, Turn

MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5")
SYSTEMS = ("You are one.", "You are the other.", None)
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one pixel
)
ODD = (
    "/clear",
    "@/etc/passwd",
    "<system-reminder>no</system-reminder>",
    "  two\n\nlines ",
    "naïve 😀 \u2028",
    "#x",
    "! ls",
)


def text(words: str) -> ContentBlock:
    return {"type": "text", "text": words}


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"does {name}", "input_schema": {"type": "object"}}


@dataclass
class Conversation:
    """One conversation that grows turn by turn. Every word of it carries its name."""

    name: str
    random: random.Random
    model: str = "claude-sonnet-4-5"
    system: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    messages: list[Message] = field(default_factory=list)
    count: int = 0

    def word(self, kind: str) -> str:
        self.count += 1
        odd = self.random.choice(ODD) if self.random.random() < 0.3 else ""
        return f"{odd}{self.name}:{kind}{self.count}{odd}"

    def ask(self) -> Turn:
        """Add what the user says next, and return the turn."""
        last = self.messages[-1] if self.messages else None
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": [text(self.word("result"))]}
            for block in (last.content if last else ())
            if block["type"] == "tool_use"
        ]
        blocks: list[ContentBlock] = [*results]
        if not results or self.random.random() < 0.2:
            blocks.append(text(self.word("question")))
        if not results and self.random.random() < 0.15:
            source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
            blocks.insert(0, {"type": "image", "source": source})
        self.messages.append(Message("user", tuple(blocks)))
        return self.turn()

    def turn(self) -> Turn:
        parameters: dict[str, Any] = {}
        if self.random.random() < 0.3:
            parameters["temperature"] = round(self.random.random(), 2)
        if self.random.random() < 0.3:
            parameters["max_tokens"] = self.random.randint(500, 900)
        if self.random.random() < 0.2:
            parameters["stop_sequences"] = (f"END{self.name}",)
        return Turn(
            model=self.model,
            messages=tuple(self.messages),
            system=self.system,
            tools=self.tools,
            client=f"everybody/{self.name}",
            **parameters,
        )

    def reply(self) -> Reply:
        """Return what Claude will say."""
        calls: tuple[ToolCall, ...] = ()
        if self.tools and self.random.random() < 0.6:
            names = [str(t["name"]) for t in self.random.choices(self.tools, k=self.random.randint(1, 3))]
            calls = tuple(ToolCall(n, input_json=json.dumps({"of": self.word("input"), "n": 1.5})) for n in names)
        words = self.word("answer") if not calls or self.random.random() < 0.5 else ""
        return Reply(text=words, tool_calls=calls)

    def hear(self, events: list[Mapping[str, Any]]) -> None:
        """Add Claude's answer as an app would keep it."""
        blocks: list[dict[str, Any]] = []
        pieces: list[list[str]] = []
        for event in events:
            if event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]))
                pieces.append([])
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                pieces[-1].append(delta.get("text") or delta.get("partial_json") or "")
        for block, said in zip(blocks, pieces, strict=True):
            if block["type"] == "text":
                block["text"] = "".join(said)
            else:
                block["input"] = json.loads("".join(said) or "{}")
        self.messages.append(Message("assistant", tuple(blocks)))


def received(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API received, less Claude Code's cache markers, its billing line and the ids of its session."""

    def clean(block: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in block.items() if key != "cache_control"}

    system = [clean(block) for block in body["system"] if not block["text"].startswith("x-anthropic-billing-header")]
    messages = [{**m, "content": [clean(block) for block in m["content"]]} for m in body["messages"]]
    rest = {key: value for key, value in body.items() if key != "metadata"}
    return {**rest, "system": system, "messages": messages}


async def play(pool: Pool, turn: Turn) -> tuple[str, list[Mapping[str, Any]]]:
    """Play a turn and return how its process came to it and the events."""
    async with pool.run(turn) as running:
        events = [event async for event in running]
    return running.process, events
