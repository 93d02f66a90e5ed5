"""What ``--understudy-record`` can be, and the error of a proxy that cannot start."""

from cassettes.replay.match import OnMiss

MODES: dict[str, OnMiss] = {"none": "fail", "new": "record", "failed": "record", "again": "record", "live": "live"}
"""``--understudy-record``: what happens to a request that no recorded one is like.

``failed`` takes the recorded failures out of a cassette before, ``again`` records into a new one that takes the old
one's place."""


class CannotStartError(Exception):
    """The proxy cannot run, or what it recorded cannot be put in its place; the message says why."""
