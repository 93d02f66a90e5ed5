"""Which process plays a turn: a decision, without I/O.

Every way costs the person who waits some milliseconds, and taking a process that holds another conversation costs that
one its place when it goes on. The numbers were measured by `python -m bench` on a small machine; only what is more than
what matters, so a faster machine decides the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.conversation import Held, keep
from translate.turn import Message

type How = Literal["continued", "reused", "warm", "resumed", "cold"]

# Milliseconds up to the API's request, beyond what every way has in common.
COSTS_MS: dict[How, float] = {"continued": 0, "reused": 5, "warm": 100, "resumed": 350, "cold": 330}

# For each message that must be put in.
MESSAGE_MS = 2.0

# For each message of another conversation that would have to be put in again, if that one ever goes on.
LOST_MESSAGE_MS = 1.0

# A tool loop always goes on, and soon.
LOST_LOOP_MS = 60.0


class Candidate(Protocol):
    """A process that waits for its next turn."""

    @property
    def held(self) -> Sequence[Held]:
        """What it holds."""


@dataclass(frozen=True, slots=True)
class Choice[P]:
    """The process to take, None for one that is yet to be started; and how to call it."""

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
    """Choose.

    ``idle`` are the processes with this system prompt, longest unused first; ``spare``: one waits uninitialised;
    ``room``: another may be started; ``resumable``: how many of the messages it can be given to begin with. None when
    nothing is possible but to wait.
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
    """Return what taking these messages off a process costs the conversation that they belong to."""
    loop = LOST_LOOP_MS if held and held[-1].calls else 0.0
    return LOST_MESSAGE_MS * len(held) + loop
