"""What a turn may cost, before it is played.

It is reserved while the turn runs, so that many requests at once do not each spend what is left of a key's dollars. It
is an estimate, by the size of what is sent and the most that may come back; what is booked in the end is what was used.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from translate.prices import cost
from translate.turn import Turn

CHARACTERS_OF_A_TOKEN = 3
"""Of English prose it is four; code, JSON and other languages have fewer."""

IMAGE_TOKENS = 4784
"""The largest image that is sent on, in patches of 28 pixels a side (:mod:`api.image_process`)."""

OUTPUT_TOKENS = 4096
"""Taken for an answer whose length the app does not limit."""

# Of a file in base64; a PDF's pages count as text and as images.
BYTES_OF_A_TOKEN = 12


def may_cost(turn: Turn, *, unknown_as: str | None = None) -> float:
    """Return about how many US dollars a turn may cost; 0 for a model without a price.

    ``unknown_as`` is a model whose price is taken for one that is not known.
    """
    usage = {"input_tokens": _input_tokens(turn), "output_tokens": turn.max_tokens or OUTPUT_TOKENS}
    usd = cost(turn.model, usage)
    if usd is None and unknown_as:
        usd = cost(unknown_as, usage)
    return usd or 0.0


def _input_tokens(turn: Turn) -> int:
    characters = len(turn.system or "") + sum(len(json.dumps(dict(tool))) for tool in turn.tools)
    blocks = [block for message in turn.messages for block in message.content]
    return characters // CHARACTERS_OF_A_TOKEN + sum(map(_block_tokens, blocks))


def _block_tokens(block: Mapping[str, Any]) -> int:
    match block:
        case {"type": "image"}:
            return IMAGE_TOKENS
        case {"type": "document", "source": {"type": "base64", "data": str(data)}}:
            return len(data) // BYTES_OF_A_TOKEN
        case {"type": "tool_result", "content": [*inside]}:
            return sum(map(_block_tokens, inside))
        case _:
            return _characters(block.values()) // CHARACTERS_OF_A_TOKEN


def _characters(values: Iterable[Any]) -> int:
    """Count the characters of all texts, by hand: what an app sends may lie deeper than Python goes."""
    count, left = 0, list(values)
    while left:
        match left.pop():
            case str(text):
                count += len(text)
            case Mapping() as inside:
                left += [*inside, *inside.values()]
            case list() | tuple() as items:
                left += items
            case _:
                count += 4
    return count
