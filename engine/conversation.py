"""The conversation that a process holds, and how much of it the next request can use. Pure.

A process holds a stack of messages. New messages are put on top. Claude Code can also be rewound: then the top is
removed, down to a *prompt*, which is a user's message without tool results (fact F88). The next request is a list of
messages. The messages that both have in common from the bottom do not have to be sent again. The comparison is exact,
and a message that is not known exactly matches nothing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.messages import says_nothing
from translate.content import is_blank
from translate.turn import ContentBlock, Message, Turn

# Claude Code writes a tool result of more than about 50 KB into a file and shows Claude a preview (fact F78).
MAX_RESULT_CHARS = 20_000

_THINKING = frozenset({"thinking", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class Held:
    """One message that a process holds.

    ``digest`` identifies the content. None matches nothing: the answer is broken, or an app cannot send it back
    exactly. ``prompt`` is the uuid to which Claude Code can be rewound, None if it cannot. ``calls`` are the tool calls
    that wait for their results. ``trigger`` is the uuid of the empty message that made Claude continue after parked
    calls. A rewind must pass through it and cannot end there.
    """

    digest: bytes | None
    prompt: str | None = None
    calls: tuple[str, ...] = ()
    trigger: str | None = None


UNKNOWN = Held(None)


def digest(message: Message, model: str) -> bytes:
    """Return a digest that is equal for two messages if and only if they are the same to Claude.

    Thinking is signed by one model and dropped for any other (fact F36). So the model is part of the digest of a
    message with thinking.
    """
    content = [_essence(block) for block in message.content]
    thinks = any(block["type"] in _THINKING for block in message.content)
    return hashlib.sha256(msgspec.json.encode([message.role, model if thinks else None, content])).digest()


def digests_of(turn: Turn) -> list[bytes]:
    """Return the digests of a turn's messages."""
    return [digest(message, turn.model) for message in turn.messages]


def _essence(block: ContentBlock) -> Any:
    """Return a block without the order of its keys, which depends on who made it. The order inside values stays."""
    match block["type"]:
        case "text" if set(block) == {"type", "text"}:
            return block["text"]
        case "tool_use":
            return ["tool_use", block["id"], block["name"], block["input"]]
        case _:
            return sorted(block.items())


def keep(held: Sequence[Held], messages: Sequence[Message], digests: Sequence[bytes]) -> int | None:
    """Return how many of its messages a process keeps to answer ``messages``; None if it cannot be used for them.

    The messages above are removed, so the lowest of them must be a prompt. If there are none above, the calls that wait
    must be the ones that the next message answers. The last message is always sent again.
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
    """Whether the message at ``at`` is the last one and answers exactly the calls that wait, in their order.

    Only plain text passes through Claude Code's tools unchanged. Other results must be sent as history.
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
    """Builds the message that the process holds after an answer from the answer's events."""

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
        """Note the input that Claude Code stores for a call. It is not always the input that Claude wrote.

        Claude Code normalises calls of tools that have the names of its own tools: an Edit gets a replace_all, and a
        Write loses spaces at line ends. In all strings it decodes a doubly escaped character.
        """
        self._kept[call] = input

    def calls(self) -> tuple[str, ...]:
        """Return the ids of the tool calls; none if one of the calls cannot be parsed."""
        return tuple(b["id"] for b in self._blocks if b["type"] == "tool_use") if self._exact else ()

    def held(self, model: str, calls: tuple[str, ...] = ()) -> Held:
        """Return the message that the process holds now. It is unknown if an app cannot send back exactly this
        answer."""
        visible = not any(block["type"] == "text" and is_blank(block["text"]) for block in self._blocks)
        if not (self._exact and visible) or self._changed() or says_nothing(self._blocks):
            return Held(None, calls=calls)
        return Held(digest(Message("assistant", tuple(self._blocks)), model), calls=calls)

    def _changed(self) -> bool:
        # Not msgspec, which cannot encode half of a surrogate pair. Claude Code may decode an escape to one.
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
