"""What a list shows of one entry of a cassette."""

from typing import Any

import msgspec

from cassettes.format import How
from cassettes.outcome import failed_at_the_proxy, outcome
from translate.usage import MessageUsage


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a list shows of an entry. ``offset`` and ``length``: its block in ``file``, in bytes; ``ms``: in all.

    ``usage`` is what the app was told; ``claude_usage`` what Claude told of its messages; ``cost_usd`` is there if it
    was computed from that. :func:`cassettes.usage.summary_usage` says what they come to.
    ``error``: type, code and the beginning of the message of the error that was told, or the text of one that has no
    shape. ``question``, ``answer``: their first words.
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
    """The Claude model that the request was translated for, as the answer's header says."""
    cost_usd: float | None = None
    file: str = ""
    error: dict[str, Any] | str | None = None
    question: str = ""
    answer: str = ""

    @property
    def outcome(self) -> How:
        """How the exchange ended, for people: ``done`` only if the app got what it asked for."""
        return outcome(self.how, self.status, self.error, self.method)

    @property
    def failed_at_the_proxy(self) -> bool:
        """Whether it failed through nothing that the app had asked."""
        return failed_at_the_proxy(self.how, self.status, self.error, self.method, said=bool(self.answer))
