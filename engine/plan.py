"""Decides which process plays a turn. Pure.

Each way to get a process costs some milliseconds. If a process is taken that holds another conversation, that
conversation must be sent again when it continues. The costs were measured with `python -m bench` on a small machine.
Only their order matters, so the decision is the same on a faster machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.conversation import Held, keep
from translate.turn import Message

type How = Literal["continued", "reused", "warm", "resumed", "cold"]

# Milliseconds until the request to the API, without the part that is the same for all ways.
COSTS_MS: dict[How, float] = {"continued": 0, "reused": 5, "warm": 100, "resumed": 350, "cold": 330}

# For each message that must be sent to the process.
MESSAGE_MS = 2.0

# For each message of another conversation that would have to be sent again if that conversation continues.
LOST_MESSAGE_MS = 1.0

# A conversation that waits for tool results always continues, and soon.
LOST_LOOP_MS = 60.0


class Candidate(Protocol):
    """A process that waits for its next turn."""

    @property
    def held(self) -> Sequence[Held]:
        """The messages that it holds."""


@dataclass(frozen=True, slots=True)
class Choice[P]:
    """The process to use, None for a spare or new one; and the name of the way."""

    process: P | None
    how: How


def plan[P: Candidate](
    idle: Sequence[P],
    messages: Sequence[Message],
    digests: Sequence[bytes],
    *,
    spare: bool,
    room: bool,
    resumable: int,
) -> Choice[P] | None:
    """Return the cheapest way to get a process for these messages; None if the turn must wait.

    ``idle`` are the processes with the turn's system prompt, longest unused first. ``spare`` says that a process waits
    uninitialised. ``room`` says that another process can be started. ``resumable`` is the number of messages that a new
    process can be started with.
    """
    options: list[tuple[float, Choice[P]]] = []
    count = len(messages) - 1
    for process in idle:
        kept = keep(process.held, messages, digests)
        if kept is not None:
            how: How = "continued" if kept else "reused"
            cost = COSTS_MS[how] + MESSAGE_MS * (count - kept) + lost_ms(process.held[kept:])
            options.append((cost, Choice(process, how)))
    if spare:
        options.append((COSTS_MS["warm"] + MESSAGE_MS * count, Choice(None, "warm")))
    if room:
        options.append((COSTS_MS["cold"] + MESSAGE_MS * count, Choice(None, "cold")))
        if resumable:
            options.append((COSTS_MS["resumed"] + MESSAGE_MS * (count - resumable), Choice(None, "resumed")))
    return min(options, key=lambda option: option[0])[1] if options else None


def lost_ms(held: Sequence[Held]) -> float:
    """Return the cost of removing these messages, for the conversation that they belong to."""
    loop = LOST_LOOP_MS if held and held[-1].calls else 0.0
    return LOST_MESSAGE_MS * len(held) + loop
