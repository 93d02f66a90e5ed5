"""Ids of responses and of their items. An item's id tells which response it belongs to, so no index of items is kept.

Apps send items back by their ids alone (``item_reference``), also in requests that go on from no response.
"""

import re
import secrets
from collections.abc import Callable
from itertools import count

_OWN_BYTES = 24
_OUTPUT = re.compile(rf"[a-z]+_([0-9a-f]{{{2 * _OWN_BYTES}}})[0-9a-f]{{2,}}")
_ASKED = re.compile(r"item_(.+)_[0-9]+")


def new_response_id() -> str:
    """Return an id for a response, which nobody can guess."""
    return f"resp_{secrets.token_hex(_OWN_BYTES)}"


def output_ids(response_id: str) -> Callable[[str], str]:
    """Return what makes ids for the items of a response's output, each with a prefix of its kind (``msg``)."""
    own, numbers = response_id.removeprefix("resp_"), count()
    return lambda prefix: f"{prefix}_{own}{next(numbers):02x}"


def asked_id(response_id: str, number: int) -> str:
    """Return the id of an item that a response was asked with and that had none."""
    return f"item_{response_id.removeprefix('resp_')}_{number}"


def response_of(item_id: str) -> str | None:
    """Return the id of the response that an item belongs to; None for an id that is no item's of a response."""
    found = _OUTPUT.fullmatch(item_id) or _ASKED.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None
