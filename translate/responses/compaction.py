"""Compaction: a summary replaces a conversation that has become too long. The app stores the summary.

An app asks for it with ``compaction_trigger`` as the last item, or with ``POST /v1/responses/compact``. It gets an item
with ``encrypted_content``. In later requests it sends this item in place of the conversation
(https://platform.openai.com/docs/guides/conversation-state). Claude writes the summary. It is sealed like thinking.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from translate.content import text_block
from translate.responses import wire
from translate.responses.asked import Item
from translate.turn import ContentBlock

TRIGGER = "compaction_trigger"

INSTRUCTION = (
    "The conversation up to here is about to be dropped, and only what you write now will be kept of it. Write down"
    " everything that is needed to go on as if nothing had been dropped: what was asked for, and in which words where"
    " the words matter; what was decided, and why; what was done and found out, with the names of files, commands,"
    " numbers and errors; what is left to do, and what comes next. Answer with these notes alone, call no tool, and do"
    " not address anybody."
)


def summary_block(text: str) -> ContentBlock:
    """Return the block that replaces the summarized part of a conversation."""
    told = f"<summary>\nThe conversation before this was dropped. These notes were made of it:\n\n{text}\n</summary>"
    return text_block(told)


def compacted(asked: Sequence[Item], output: Sequence[wire.OutputItem]) -> list[dict[str, Any]]:
    """Return the items of ``/v1/responses/compact``: the user's messages, and one item for all the rest.

    ``asked`` has the items that were compacted. Each has an id.
    """
    said = []
    for item in asked:
        if item.get("role") == "user" and item.get("type", "message") == "message":
            content = item["content"]
            parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
            said.append({"type": "message", "id": item["id"], "role": "user", "status": "completed", "content": parts})
    made = [msgspec.to_builtins(item) for item in output if isinstance(item, wire.CompactionItem)]
    return [*said, *made]
