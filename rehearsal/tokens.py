"""Counts tokens, and simulates the prompt cache. Pure, except for the memory of the cache.

The estimate: one token is four characters, rounded up. It is the same for input and output, and answers are streamed in
exactly these pieces. So an answer counts the same when it comes back as input. Images and documents count 1,500 tokens
each. Claude's real tokenizer gives other numbers.

The cache follows the real one's rules in small: the prompt is tools, then system, then messages; each cache_control
marker makes everything up to it readable by later requests for the same model; what a request begins with that an
earlier one has marked is read, the rest up to its last marker is written. There is no minimum size and no expiry.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOKEN_CHARS = 4
FLAT_TOKENS = 1500
_FLAT_TYPES = ("image", "document", "container_upload")
_BILLING_PREFIX = "x-anthropic-billing-header:"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the prompt. A cache marker can stand at its end."""

    place: str
    text: str
    tokens: int
    marker: str | None
    """The ttl of its cache_control, None without one."""


def pieces(text: str) -> list[str]:
    """Split a text into tokens."""
    return [text[start : start + TOKEN_CHARS] for start in range(0, len(text), TOKEN_CHARS)]


def count(text: str) -> int:
    """Count the tokens of a text: a quarter of its characters, rounded up."""
    return -(-len(text) // TOKEN_CHARS)


def segments(body: Mapping[str, Any]) -> Iterator[Segment]:
    """Yield the pieces of a request's prompt, in the order of the cache."""
    for tool in body.get("tools") or []:
        yield _segment("tool", tool)
    system = body.get("system") or []
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        # Claude Code's billing block is not a part of the prompt. It can differ in each request.
        if not str(block.get("text", "")).startswith(_BILLING_PREFIX):
            yield _segment("system", block)
    for message in body.get("messages") or []:
        for block in content_blocks(message):
            yield _segment(str(message.get("role")), block)


def content_blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a message's content as blocks; a plain string is one text block."""
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def count_prompt(body: Mapping[str, Any]) -> int:
    """Count the input tokens of a request; at least one."""
    return max(1, sum(segment.tokens for segment in segments(body)))


class PromptCache:
    """Remembers the last `limit` marked prompts."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._known: dict[str, None] = {}

    def usage(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the input side of a request's usage, and remember its marked prefixes.

        The three counts add up to `count_prompt`.
        """
        running = hashlib.sha256(str(body.get("model")).encode())
        total = marked = read = 0
        ttl = "5m"
        keys = []
        for segment in segments(body):
            running.update(f"\x00{segment.place}\x00{segment.text}".encode())
            total += segment.tokens
            key = running.hexdigest()
            if segment.marker:
                marked, ttl = total, segment.marker
                keys.append(key)
            if key in self._known:
                read = total
        self._remember(keys)
        total = max(1, total)
        marked = min(marked, total - 1)  # as recorded, the cache never holds the prompt's very last token
        read = min(read, marked)
        return _usage(total - marked, marked - read, read, ttl)

    def _remember(self, keys: list[str]) -> None:
        for key in keys:
            self._known.pop(key, None)
            self._known[key] = None
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]


def with_counts(usage: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a usage with some counts replaced.

    A usage has the tokens written to the cache twice: as a sum, and by their lifetime. As in the API, both agree: if
    only one of them is replaced, the other is adapted.
    """
    changed = {**usage, **counts}
    created, split = "cache_creation_input_tokens", "cache_creation"
    if created in counts and split not in counts:
        kept = "1h" if usage[split]["ephemeral_1h_input_tokens"] else "5m"
        changed[split] = _by_duration(counts[created], kept)
    elif split in counts and created not in counts:
        changed[created] = sum(counts[split].values())
    return changed


def _by_duration(created: int, ttl: str) -> dict[str, int]:
    return {f"ephemeral_{kept}_input_tokens": created if kept == ttl else 0 for kept in ("5m", "1h")}


def _usage(fresh: int, created: int, read: int, ttl: str) -> dict[str, Any]:
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": read,
        "cache_creation": _by_duration(created, ttl),
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _segment(place: str, block: Mapping[str, Any]) -> Segment:
    bare = {key: value for key, value in block.items() if key != "cache_control"}
    plain = bare.get("type") == "text" and isinstance(bare.get("text"), str)
    text = bare["text"] if plain else json.dumps(bare, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    tokens = FLAT_TOKENS if bare.get("type") in _FLAT_TYPES else count(text)
    control = block.get("cache_control")
    return Segment(place, text, tokens, str(control.get("ttl", "5m")) if isinstance(control, dict) else None)
