"""Compaction: a conversation too long to go on with becomes a summary, which the app carries for us.

An app asks for it by a last item, ``compaction_trigger``, or by ``POST /v1/responses/compact``, and gets an item whose
``encrypted_content`` it sends back in the place of what was summed up
(https://platform.openai.com/docs/guides/conversation-state). Claude writes the summary; it is sealed as thinking is.
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
    """Return what stands in a conversation for what was summed up."""
    told = f"<summary>\nThe conversation before this was dropped. These notes were made of it:\n\n{text}\n</summary>"
    return text_block(told)


def compacted(asked: Sequence[Item], output: Sequence[wire.OutputItem]) -> list[dict[str, Any]]:
    """Return the items of ``/v1/responses/compact``: what the user said, and what else there was as one item.

    ``asked`` are the items that were compacted, each with an id.
    """
    said = []
    for item in asked:
        if item.get("role") == "user" and item.get("type", "message") == "message":
            content = item["content"]
            parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
            said.append({"type": "message", "id": item["id"], "role": "user", "status": "completed", "content": parts})
    made = [msgspec.to_builtins(item) for item in output if isinstance(item, wire.CompactionItem)]
    return [*said, *made]
