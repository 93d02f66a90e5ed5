"""Lists in OpenAI's shape: what a query asks for, and the body that answers it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs

from storage.pagination import UnknownCursorError
from translate.errors import OpenAIError

MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a list is wanted. ``others`` are the query's further fields, each with its last value."""

    after: str | None
    before: str | None
    limit: int
    order: Literal["asc", "desc"]
    others: dict[str, str]


def asked_of(query: str, *, order: Literal["asc", "desc"] = "desc", limit: int = 20, most: int = MAX_LIMIT) -> Asked:
    """Read a query. ``limit`` is the default, ``most`` the largest limit.

    Raises OpenAIError (400) for an invalid limit or order.
    """
    fields = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    asked = fields.pop("limit", str(limit))
    if not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 1 <= int(asked) <= most):
        raise OpenAIError(f"Invalid 'limit': a number from 1 to {most} is expected.", param="limit")
    order = fields.pop("order", order)  # type: ignore[assignment]
    if order not in ("asc", "desc"):
        raise OpenAIError("Invalid 'order': 'asc' or 'desc' is expected.", param="order")
    return Asked(fields.pop("after", None), fields.pop("before", None), int(asked), order, fields)


def unknown_cursor(error: UnknownCursorError) -> OpenAIError:
    """Return what an app is told of a cursor that is no entry's id."""
    return OpenAIError(f"No entry with id {error.cursor!r} in this list.", param="after", code="invalid_value")


def listed(data: Sequence[Any], *, has_more: bool) -> bytes:
    """Return the body of a list of objects with ids."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    body = {"object": "list", "data": list(data), "first_id": first, "last_id": last, "has_more": has_more}
    return json.dumps(body).encode()
