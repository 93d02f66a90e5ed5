"""The engine: plays Turns with the Claude Code SDK. It knows no OpenAI.

The glossary:

- a *turn* is one answer of Claude's, asked with the whole conversation (:class:`translate.turn.Turn`);
- a *process* is one `claude` program (:mod:`engine.process`); :mod:`engine.sdk` alone imports its SDK;
- what a process *holds* is the conversation it has in it (:mod:`engine.conversation`);
- a call is *parked* while Claude Code waits for the app to answer it (:mod:`engine.park`);
- *events* are the raw stream events of Anthropic's Messages API, as they come;
- the *outcome* says how a turn ended, once it has;
- to *cut* a process is to kill it the moment the stop reason is known, because Claude Code would go on by itself:
  after ``max_tokens``, after a refusal, after an empty answer (facts F40, F41, F44).
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.errors import ClaudeError
from translate.turn import Turn
from translate.usage import MessageUsage

type Event = Mapping[str, Any]

type Ending = Literal["finished", "cut", "cancelled", "failed"]
"""How a turn can end: Claude Code reported its result, we ended the process at the stop reason, nobody wanted the rest,
or it failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended.

    ``process`` says how its process came to it (:attr:`Running.process`).
    """

    how: Ending
    process: str
    error: ClaudeError | None = None


class Running(Protocol):
    """A turn being played: iterate it for the events; leave its context to be done with it, early or not."""

    @property
    def process(self) -> str:
        """How its process came to it: continued, reused, warm, resumed or cold (:mod:`engine.pool`).

        Known once the first event has come.
        """

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet; 0 when the reader keeps up."""

    @property
    def retries(self) -> int:
        """How often the turn was tried again."""

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """What Claude has told so far of the tokens of each of its messages, whether or not those events were read.

        Final once the turn is ``complete``, or else once it has ``ended``.
        """

    @property
    def complete(self) -> bool:
        """Whether the answer was read up to its stop reason."""

    @property
    def ended(self) -> Awaitable[Outcome]:
        """How the turn ended: known shortly after its context was left."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the stop reason has come. Raises ClaudeError when the turn fails."""


class Engine(Protocol):
    """What plays turns."""

    def run(self, turn: Turn) -> AbstractAsyncContextManager[Running]:
        """Play a turn. Leaving the context before the end cancels it, at the API too."""

    def status(self) -> dict[str, Any]:
        """Return the engine's state for people and monitors: numbers and names, nothing of any conversation."""


__all__ = ["ClaudeError", "Ending", "Engine", "Event", "Outcome", "Running"]
