"""The summary of an entry, for lists."""

from typing import Any

import msgspec

from cassettes.format import How
from cassettes.outcome import failed_at_the_proxy, outcome
from translate.usage import MessageUsage


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The summary of an entry.

    ``offset`` and ``length``: its block in ``file``, in bytes. ``ms``: the total time. ``usage``: the usage that was
    sent to the app. ``claude_usage``: the usage that Claude reported for its messages. ``cost_usd``: the cost, if it
    was computed from ``claude_usage``. Use :func:`cassettes.usage.summary_usage` to read them. ``error``: type, code
    and the beginning of the message of the error, or its text. ``question``, ``answer``: their first words.
    """

    id: str
    offset: int
    length: int
    started: str = ""
    method: str = ""
    path: str = ""
    model: str | None = None
    status: int | None = None
    how: How = "interrupted"
    ms: float = 0.0
    events: int = 0
    chunks: int = 0
    usage: dict[str, Any] | None = None
    claude_usage: list[MessageUsage] | None = None
    claude_model: str | None = None
    """The Claude model that the request was translated for, from the answer's header."""
    cost_usd: float | None = None
    file: str = ""
    error: dict[str, Any] | str | None = None
    question: str = ""
    answer: str = ""

    @property
    def outcome(self) -> How:
        """How the exchange ended. ``done`` only if the app got what it asked for."""
        return outcome(self.how, self.status, self.error, self.method)

    @property
    def failed_at_the_proxy(self) -> bool:
        """Whether it failed, but not because of the request."""
        return failed_at_the_proxy(self.how, self.status, self.error, self.method, said=bool(self.answer))
