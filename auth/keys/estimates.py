"""Estimates what a request may cost before it runs.

The amount is reserved while the request runs. So several requests at once cannot each spend the dollars that are left
of a key. The estimate is computed from the size of the input and the maximum size of the output. In the end the real
usage is booked.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from translate.prices import cost
from translate.turn import Turn

CHARACTERS_OF_A_TOKEN = 3
"""English prose has about four characters per token. Code, JSON and other languages have fewer."""

IMAGE_TOKENS = 4784
"""The tokens of the largest image that is sent: one per patch of 28 by 28 pixels (:mod:`api.image_process`)."""

OUTPUT_TOKENS = 4096
"""The estimate for the output if the request does not limit it."""

# How many base64 bytes of a file are counted as one token. The pages of a PDF count as text and as images.
BYTES_OF_A_TOKEN = 12


def may_cost(turn: Turn, *, unknown_as: str | None = None) -> float:
    """Return an estimate of the cost in US dollars. It is 0 if the model has no price.

    ``unknown_as`` is another model, whose price is used if the model of the turn has none.
    """
    usage = {"input_tokens": input_tokens(turn), "output_tokens": turn.max_tokens or OUTPUT_TOKENS}
    usd = cost(turn.model, usage)
    if usd is None and unknown_as:
        usd = cost(unknown_as, usage)
    return usd or 0.0


def input_tokens(turn: Turn) -> int:
    """Return an estimate of the tokens of a turn's input. It is rather too high than too low."""
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
    """Count the characters of all strings. There is no recursion: JSON may be nested deeper than Python's limit."""
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
