"""What the pytest plugin and the program that it starts agree on."""

from typing import Literal

PROTOCOL = 1
"""The number of the language that the two speak. It changes with each change that the other side must know of.

The plugin starts ``understudy pytest-proxy`` and writes one line of JSON to its stdin: ``protocol`` and ``token``. The
program answers on its stdout with one line: ``protocol``, ``version`` and ``port``. The plugin connects to that port on
127.0.0.1 and sends the token and a line break. From then on each line of the plugin is a command (``do``) and each line
of the program is the answer to it: its fields, or ``error``. The program ends when the connection does.
"""

MODES: dict[str, Literal["fail", "live", "record"]] = {
    "none": "fail",
    "new": "record",
    "failed": "record",
    "again": "record",
    "live": "live",
}
"""``--understudy-record``: what happens to a request that is not in the cassette.

``failed`` first removes the recorded failures from the cassette. ``again`` records a new cassette, which then replaces
the old one."""


class CannotStartError(Exception):
    """The proxy cannot run, or what it recorded cannot be put in its place; the message says why."""
