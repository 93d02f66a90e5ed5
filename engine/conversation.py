"""What a process holds of a conversation, and how much of it serves the next one.

A process is a stack of messages: more can be put on top (injected, asked, answered), and the top can be taken off again
down to a *prompt*, a user's message without tool results, which Claude Code can be rewound to (fact F88). The next
request is a list of messages. What both have in common from the bottom need not be said again. Everything here is pure;
matching is exact, and whatever cannot be told for sure matches nothing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.messages import says_nothing
from translate.content import is_blank
from translate.turn import ContentBlock, Message

# Above about 50 KB Claude Code puts a tool's result into a file and shows Claude a preview (fact F78).
MAX_RESULT_CHARS = 20_000

_THINKING = frozenset({"thinking", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class Held:
    """One message that a process holds.

    ``digest`` None matches nothing: a broken answer, or one that no app can send back as it was. ``prompt`` is the uuid
    that a rewind needs, None for what cannot be rewound to. ``calls`` are the tool calls that wait for their results.
    ``trigger`` is the uuid of the empty message that had Claude go on after parked calls: no place to stop a rewind at,
    but one that it must not pass by.
    """

    digest: bytes | None
    prompt: str | None = None
    calls: tuple[str, ...] = ()
    trigger: str | None = None


UNKNOWN = Held(None)


def digest(message: Message, model: str) -> bytes:
    """Return what two messages have in common exactly if they are the same to Claude.

    Thinking is signed by one model and dropped for any other (fact F36), so the model counts where there is some.
    """
    content = [_essence(block) for block in message.content]
    thinks = any(block["type"] in _THINKING for block in message.content)
    return hashlib.sha256(msgspec.json.encode([message.role, model if thinks else None, content])).digest()


def _essence(block: ContentBlock) -> Any:
    """Return a block without what depends on who made it: the order of its keys. The order within values stays."""
    match block["type"]:
        case "text" if set(block) == {"type", "text"}:
            return block["text"]
        case "tool_use":
            return ["tool_use", block["id"], block["name"], block["input"]]
        case _:
            return sorted(block.items())


def keep(held: Sequence[Held], messages: Sequence[Message], digests: Sequence[bytes]) -> int | None:
    """Return how many of the held messages a process keeps to answer ``messages``; None if it cannot be used for them.

    What is above must be taken off, so it has to begin with a prompt; or be nothing, and then the calls that wait must
    be the ones that the next message answers. The last message is always asked anew.
    """
    limit = min(len(held), len(messages) - 1)
    common = next((n for n in range(limit) if held[n].digest is None or held[n].digest != digests[n]), limit)
    if common == len(held) and (not held or not held[-1].calls or continues(held[-1].calls, messages, common)):
        return common
    common = min(common, len(held) - 1)
    while held[common].prompt is None:
        if common == 0:
            return None
        common -= 1
    return common


def continues(calls: Sequence[str], messages: Sequence[Message], at: int) -> bool:
    """Whether the message at ``at`` ends the conversation and answers exactly the calls that wait, in their order.

    Only plain text goes back through Claude Code's tools unchanged; anything else is put in as history.
    """
    if at != len(messages) - 1:
        return False
    results = results_of(messages[at])
    return [block["tool_use_id"] for block in results] == list(calls) and all(map(_plain, results))


def results_of(message: Message) -> list[ContentBlock]:
    """Return a message's tool results."""
    return [block for block in message.content if block["type"] == "tool_result"]


def _plain(result: Mapping[str, Any]) -> bool:
    content = result.get("content")
    if set(result) != {"type", "tool_use_id", "content"} or not isinstance(content, list):
        return False
    texts = [block["text"] for block in content if set(block) == {"type", "text"} and not is_blank(block["text"])]
    return len(texts) == len(content) > 0 and sum(map(len, texts)) <= MAX_RESULT_CHARS


def is_prompt(message: Message) -> bool:
    """Whether Claude Code can be rewound to a message: a user's, without tool results."""
    return message.role == "user" and not results_of(message)


class AnswerSoFar:
    """Collects an answer's events into the message that the process then holds."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Any]] = []
        self._json: list[str] = []
        self._exact = True
        self._kept: dict[str, Mapping[str, Any]] = {}

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take one event of the Messages API's stream."""
        match event:
            case {"type": "content_block_start", "content_block": block}:
                self._start(block)
            case {"type": "content_block_delta", "delta": delta} if self._blocks:
                self._extend(self._blocks[-1], delta)
            case {"type": "content_block_stop"} if self._json and self._blocks:
                self._close(self._blocks[-1])
            case _:
                pass

    def keeps(self, call: str, input: Mapping[str, Any]) -> None:
        """Take what Claude Code keeps of a call's input, which is not always what Claude wrote.

        It puts the calls of tools named like its own into its own form: an Edit gets a replace_all, a Write loses
        blanks at the ends of lines. In any call's strings it reads a doubly escaped character as that character.
        """
        self._kept[call] = input

    def calls(self) -> tuple[str, ...]:
        """Return the ids of the tools that were called; none if one of the calls cannot be carried out."""
        return tuple(b["id"] for b in self._blocks if b["type"] == "tool_use") if self._exact else ()

    def held(self, model: str, calls: tuple[str, ...] = ()) -> Held:
        """Return what the process holds now. An answer that is not exactly what an app sends back is UNKNOWN."""
        visible = not any(block["type"] == "text" and is_blank(block["text"]) for block in self._blocks)
        if not (self._exact and visible) or self._changed() or says_nothing(self._blocks):
            return Held(None, calls=calls)
        return Held(digest(Message("assistant", tuple(self._blocks)), model), calls=calls)

    def _changed(self) -> bool:
        # Not by msgspec, which cannot write half of a pair: such may be what Claude Code reads in escapes.
        wrote = {block["id"]: block["input"] for block in self._blocks if block["type"] == "tool_use"}
        return any(json.dumps(wrote.get(call)) != json.dumps(kept) for call, kept in self._kept.items())

    def _start(self, block: Mapping[str, Any]) -> None:
        self._json = []
        match block:
            case {"type": "text", "text": text}:
                self._blocks.append({"type": "text", "text": text})
            case {"type": "tool_use", "id": id, "name": name}:
                self._blocks.append({"type": "tool_use", "id": id, "name": name, "input": block.get("input") or {}})
            case {"type": "thinking"}:
                thinking, signature = block.get("thinking", ""), block.get("signature", "")
                self._blocks.append({"type": "thinking", "thinking": thinking, "signature": signature})
            case {"type": "redacted_thinking", "data": data}:
                self._blocks.append({"type": "redacted_thinking", "data": data})
            case _:
                self._exact = False

    def _extend(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        match delta:
            case {"type": "text_delta", "text": text} if block["type"] == "text":
                block["text"] += text
            case {"type": "thinking_delta", "thinking": text} if block["type"] == "thinking":
                block["thinking"] += text
            case {"type": "signature_delta", "signature": signature} if block["type"] == "thinking":
                block["signature"] += signature
            case {"type": "input_json_delta", "partial_json": piece} if block["type"] == "tool_use":
                self._json.append(piece)
            case _:
                self._exact = False

    def _close(self, block: dict[str, Any]) -> None:
        text = "".join(self._json)
        self._json = []
        try:
            block["input"] = msgspec.json.decode(text) if text.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            self._exact = False
        else:
            self._exact = self._exact and isinstance(block["input"], dict)
