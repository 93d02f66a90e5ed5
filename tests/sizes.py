"""How much the tests do that take a sample: enough to show the same each time, or more with ``UNDERSTUDY_TESTS=large``.

.ci/run takes the large sample.
"""

import os

LARGE = os.environ.get("UNDERSTUDY_TESTS") == "large"


def sample(small: int, *, large: int) -> int:
    """Return how many cases a test goes through."""
    return large if LARGE else small
