"""A Turn's messages -> the messages that Claude Code accepts."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from translate.models import ALIASES
from translate.turn import ContentBlock, Message

# Claude Code writes these texts for an empty answer. In a history it drops an assistant message that has only such a
# text, and joins the user's messages before and after it. Apps may send the same texts.
NOTHING = frozenset({"", "(no content)", "[Empty text removed]"})

# With this invisible character the message is not dropped.
UNSEEN = "\u200b"


def says_nothing(blocks: Sequence[ContentBlock]) -> bool:
    """Whether Claude Code drops an assistant's message of these blocks."""
    said = [block for block in blocks if block["type"] not in ("thinking", "redacted_thinking")]
    return all(block["type"] == "text" and block["text"].strip() in NOTHING for block in said)


def user(message: Message) -> dict[str, Any]:
    """Return a user message."""
    return {"role": "user", "content": [_ordered(block) for block in message.content]}


def said(message: Message, model: str, *, signed: bool = False) -> dict[str, Any]:
    """Return an assistant message.

    Claude Code keeps thinking only if it comes from the current model, and for this the message must name the model
    (fact F36). ``signed`` names it in messages without thinking too.
    """
    blocks = [dict(block) for block in message.content]
    if says_nothing(blocks) and blocks and blocks[-1]["type"] == "text":
        blocks[-1]["text"] += UNSEEN
    content = {"role": "assistant", "content": blocks}
    if not signed and not any(block["type"] in ("thinking", "redacted_thinking") for block in message.content):
        return content
    name = ALIASES.get(model, model)
    usage = {"input_tokens": 0, "output_tokens": 0}
    about = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "model": name, "stop_reason": "end_turn"}
    return {**content, **about, "usage": usage} if signed else {**content, **about}


def _ordered(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block with its keys in the order that Claude Code uses for a tool result.

    Then the API receives the same bytes, whichever way the result came into the conversation.
    """
    if block["type"] != "tool_result":
        return dict(block)
    return {"tool_use_id": block["tool_use_id"], **block}
