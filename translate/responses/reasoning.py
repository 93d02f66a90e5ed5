"""Claude's thinking <-> OpenAI's reasoning items.

Claude needs its thinking back unchanged, with its signature, before the text and the calls of the same turn. In this
dialect the app sends it back: ``encrypted_content`` contains the whole block. The caller seals the bytes of a block to
a text, and opens them again.
"""

from typing import Any

import msgspec

from translate.content import text_block
from translate.turn import ContentBlock

KINDS = ("thinking", "redacted_thinking")


def thinking_block(thinking: str, signature: str) -> ContentBlock:
    """Return a block of Claude's thinking."""
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def redacted_block(data: str) -> ContentBlock:
    """Return a block of thinking that only Claude can read."""
    return {"type": "redacted_thinking", "data": data}


def pack(block: ContentBlock) -> bytes:
    """Return the bytes of a block, which the caller seals."""
    return msgspec.json.encode(block)


def unpack(data: bytes) -> ContentBlock | None:
    """Return the block of these bytes, or None if they are not a block."""
    try:
        block: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    match block:
        case {"type": "thinking", "thinking": str() as thinking, "signature": str() as signature}:
            return thinking_block(thinking, signature)
        case {"type": "redacted_thinking", "data": str() as hidden}:
            return redacted_block(hidden)
        case {"type": "text", "text": str() as text}:  # a summary
            return text_block(text)
        case _:
            return None
