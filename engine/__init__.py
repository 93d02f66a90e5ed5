"""The engine gets answers from Claude, through the Claude Code SDK. It knows nothing of OpenAI's API.

Glossary:

- a *turn* is one answer of Claude, asked for with the whole conversation (:class:`translate.turn.Turn`);
- to *play* a turn is to get its answer;
- a *process* is one running `claude` program (:mod:`engine.process`). Only :mod:`engine.sdk` imports its SDK;
- a process *holds* the conversation that it has in its memory (:mod:`engine.conversation`);
- a tool call is *parked* while Claude Code waits for the app's result (:mod:`engine.park`);
- *events* are the stream events of Anthropic's Messages API, as they arrive;
- the *outcome* says how a turn ended;
- to *cut* a process is to kill it as soon as the stop reason is known. This is needed because Claude Code would ask
  again by itself after ``max_tokens``, after a refusal and after an empty answer (facts F40, F41, F44).
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
"""How a turn can end. ``finished``: Claude Code reported its result. ``cut``: the process was killed at the stop
reason. ``cancelled``: the caller left before the end. ``failed``: Claude's side failed."""


type Process = Literal["continued", "reused", "warm", "resumed", "cold", "agent", ""]
"""How a turn got its process (:mod:`engine.pool`). ``agent`` is the process of an agent, "" is not known yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended, and how it got its process."""

    how: Ending
    process: Process
    error: ClaudeError | None = None


class Running(Protocol):
    """A turn that is being played. Iterate over it to get the events. Leave its context to end it at any time."""

    @property
    def process(self) -> Process:
        """How the turn got its process. Known when the first event has come."""

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet. 0 means that the reader keeps up."""

    @property
    def retries(self) -> int:
        """How often the turn was tried again."""

    @property
    def ignored(self) -> Sequence[str]:
        """The app's parameters that turned out to have no effect, as paths. Known when the first event has come."""

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """The token usage of each of Claude's messages so far, whether or not their events were read.

        It is final when the turn is ``complete`` or has ``ended``.
        """

    @property
    def complete(self) -> bool:
        """Whether the answer was read up to its stop reason."""

    @property
    def ended(self) -> Awaitable[Outcome]:
        """How the turn ended. Known shortly after its context was left."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events up to the one with the stop reason. Raises ClaudeError if the turn fails."""


class Engine(Protocol):
    """Anything that plays turns."""

    def run(self, turn: Turn) -> AbstractAsyncContextManager[Running]:
        """Play a turn. If the context is left before the end, the request to Claude's API is cancelled too."""

    def status(self) -> dict[str, Any]:
        """Return the engine's state for people and monitoring. It has numbers and names, and no part of a
        conversation."""


__all__ = ["ClaudeError", "Ending", "Engine", "Event", "Outcome", "Process", "Running"]
