"""The responses that an app may come back to, kept in memory, the latest ones.

An app that sends ``previous_response_id`` expects us to know the conversation up to there. What is kept is bounded in
number and in bytes, and ends with the process; the app is then told that there is no such response, as OpenAI does
for one that has expired.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

type Item = dict[str, Any]

MAX_RESPONSES = 1000
MAX_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remembered:
    """One response: its JSON, the items it was asked with, and the whole conversation that it ends. ``size``: bytes.

    ``owner`` is whose it is: nobody else is told of it.
    """

    owner: str
    body: bytes
    asked: tuple[Item, ...]
    conversation: tuple[Item, ...]
    size: int


class Memory:
    """Responses by id, the least recently used ones forgotten first."""

    def __init__(self, *, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._responses: OrderedDict[str, Remembered] = OrderedDict()
        self._bytes = 0

    def keep(self, id: str, response: Remembered) -> None:
        """Remember a response."""
        self.forget(id, response.owner)
        self._responses[id] = response
        self._bytes += response.size
        while len(self._responses) > self._max_responses or self._bytes > self._max_bytes:
            _, oldest = self._responses.popitem(last=False)
            self._bytes -= oldest.size

    def find(self, id: str, owner: str) -> Remembered | None:
        """Return a response of this owner's, None if there is none."""
        found = self._responses.get(id)
        if found is None or found.owner != owner:
            return None
        self._responses.move_to_end(id)
        return found

    def forget(self, id: str, owner: str) -> bool:
        """Forget a response of this owner's. Returns whether there was one."""
        found = self.find(id, owner)
        if found is not None:
            del self._responses[id]
            self._bytes -= found.size
        return found is not None
