"""A Turn's messages in the form in which Claude Code takes them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from translate.models import ALIASES
from translate.turn import ContentBlock, Message

# What Claude Code writes in place of nothing, it takes for nothing in a history too: it drops an assistant's message
# that says no more than that, and joins the user's before and after. Apps use the same words.
NOTHING = frozenset({"", "(no content)", "[Empty text removed]"})

# A character without width keeps such a message.
UNSEEN = "\u200b"


def says_nothing(blocks: Sequence[ContentBlock]) -> bool:
    """Whether Claude Code drops an assistant's message of these blocks."""
    said = [block for block in blocks if block["type"] not in ("thinking", "redacted_thinking")]
    return all(block["type"] == "text" and block["text"].strip() in NOTHING for block in said)


def user(message: Message) -> dict[str, Any]:
    """Return a user's message."""
    return {"role": "user", "content": [_ordered(block) for block in message.content]}


def said(message: Message, model: str, *, signed: bool = False) -> dict[str, Any]:
    """Return an assistant's message.

    Its thinking is kept only if it is the current model's own, which the message must then say (fact F36); ``signed``
    says it in any case.
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
    """Return a block with its keys in the order in which Claude Code itself writes a tool's result.

    However a result gets into the conversation, the API then receives the same bytes.
    """
    if block["type"] != "tool_result":
        return dict(block)
    return {"tool_use_id": block["tool_use_id"], **block}
