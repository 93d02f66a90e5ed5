"""What the tests keep: responses, items, messages; and a clock that they set."""

from typing import Any

from sqlalchemy import Table, func, select

from storage.database import Database
from storage.responses import Responses, StoredResponse

ME, YOU = "me", "you"

type Item = dict[str, Any]


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_763_683_200.0

    def __call__(self) -> float:
        return self.now


def user(text: str) -> Item:
    """An item as an app sends it: without an id."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def assistant(text: str) -> Item:
    """An item as a response has it."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": f"msg_{text}", "role": "assistant", "status": "completed", "content": content}


def response(name: str, before: tuple[Item, ...] = (), **fields: Any) -> StoredResponse:
    """A response ``resp_name``: it was asked ``name?`` and says ``name!``."""
    values: dict[str, Any] = {
        "id": f"resp_{name}",
        "owner": ME,
        "created_at": 1_763_683_200.0,
        "body": f'{{"id":"resp_{name}"}}'.encode(),
        "asked": (user(f"{name}?"),),
        "output": (assistant(f"{name}!"),),
        "before": before,
    }
    return StoredResponse(**{**values, **fields})


async def chain(responses: Responses, names: str, after: StoredResponse | None = None, **fields: Any) -> StoredResponse:
    """Keep a response for each letter, each going on from the one before, and return the last."""
    for name in names:
        before = after.conversation if after else ()
        after = response(name, before, previous_id=after.id if after else None, **fields)
        await responses.put(after)
    assert after
    return after


def count(database: Database, table: Table) -> int:
    """How many rows a table has."""
    return database.read(lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one())
