"""Ids of responses and of their items. An item's id contains the id of its response, so no index of items is needed.

Apps can refer to an item by its id alone (``item_reference``), even in requests without ``previous_response_id``.
"""

import re
import secrets
from collections.abc import Callable
from itertools import count

_OWN_BYTES = 24
_OUTPUT = re.compile(rf"[a-z]+_([0-9a-f]{{{2 * _OWN_BYTES}}})[0-9a-f]{{2,}}")
_ASKED = re.compile(r"item_(.+)_[0-9]+")


def new_response_id() -> str:
    """Return a new id for a response. It cannot be guessed."""
    return f"resp_{secrets.token_hex(_OWN_BYTES)}"


def output_ids(response_id: str) -> Callable[[str], str]:
    """Return a function that makes ids for a response's output items. Its argument is the prefix, such as ``msg``."""
    own, numbers = response_id.removeprefix("resp_"), count()
    return lambda prefix: f"{prefix}_{own}{next(numbers):02x}"


def asked_id(response_id: str, number: int) -> str:
    """Return the id for an input item that came without one. ``number`` is its index in the input."""
    return f"item_{response_id.removeprefix('resp_')}_{number}"


def response_of(item_id: str) -> str | None:
    """Return the id of the response that an item belongs to. None for ids of another form."""
    found = _OUTPUT.fullmatch(item_id) or _ASKED.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None
