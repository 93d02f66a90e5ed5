"""How many bytes of request bodies the proxy holds, alone, together and by API key.

The proxy counts bodies as they come. The origin counts what compressed bodies become, with the same limits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SMALL_BODY_BYTES = 64 * 1024
"""So much of each body is read even if all others have used up ``max_bodies_mb``."""


@dataclass(slots=True)
class Bounds:
    """What all connections share: the limits, and how many bytes of bodies are held.

    A body counts from its first byte until its request is answered.
    """

    max_body_bytes: int
    max_bodies_bytes: int
    timeout_s: float = 30.0
    min_bytes_per_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    held: dict[int, int] = field(default_factory=dict)
    """Bytes by the ``id`` of the stream."""
    holders: dict[int, int] = field(default_factory=dict)
    """Whose each body is, by the ``id`` of the stream."""
    total: int = 0

    def hold(self, key: int, more: int, holder: int | None = None) -> tuple[int, str] | None:
        """Count bytes of a body. Returns the status and the message of a refusal if they are too many.

        ``holder`` stands for the API key that the body came with; None: it has no share of its own, but may take all.
        """
        size = self.held.get(key, 0) + more
        if size > self.max_body_bytes:
            return 413, too_large(self.max_body_bytes)
        if size > SMALL_BODY_BYTES:
            if self.total + more > self.max_bodies_bytes:
                return 503, "The proxy holds as much of requests as it may (max_bodies_mb). Try again in a moment."
            if holder is not None and not self._has_share(key, more, holder):
                return (
                    503,
                    "This key holds its share of what the proxy may hold (max_bodies_mb). Try again in a moment.",
                )
        self.held[key] = size
        self.total += more
        if holder is not None:
            self.holders[key] = holder
        return None

    def due(self, began: float, last: float, received: int) -> float:
        """Return when it is too slow: it was silent since ``last``, or it came in too small pieces since ``began``."""
        earned = received / self.min_bytes_per_s if self.min_bytes_per_s else float("inf")
        return min(last, began + earned) + self.timeout_s

    def release(self, key: int) -> None:
        """Forget a body."""
        self.total -= self.held.pop(key, 0)
        self.holders.pop(key, None)

    def _has_share(self, key: int, more: int, holder: int) -> bool:
        """Whether a holder may have more: as much as is left free then, so that there is always room for a new one.

        One holder gets half of all, each of two a third, and so on. A body that is the only one may take all, since it
        could be larger than any share.
        """
        if self.total == self.held.get(key, 0):
            return True
        mine = sum(self.held[other] for other, whose in self.holders.items() if whose == holder)
        return mine + more <= self.max_bodies_bytes - self.total - more


def too_large(most: int) -> str:
    """Return what is said of a body that is too large; the origin says the same."""
    return f"The request body is larger than {most} bytes."
