"""Modules that libraries import at their start and that we seldom or never use. They are executed at their first use.

mitmproxy imports all its addons together, with a web server, an LDAP client and a language for filters. Of all modules
that `understudy serve` imports these take a quarter of the time, and in most runs nobody uses one of them.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

_ADDONS = (
    *("anticache", "anticomp", "blocklist", "browser", "clientplayback", "command_history", "comment", "cut", "export"),
    *("maplocal", "mapremote", "modifybody", "modifyheaders", "onboarding", "save", "savehar", "script"),
    *("serverplayback", "stickyauth", "stickycookie"),
)

SELDOM_USED = frozenset({"attr", "ldap3", "service_identity", *(f"mitmproxy.addons.{name}" for name in _ADDONS)})
"""Each is imported by ``import``, or by ``from`` its package, so that the import itself uses nothing of it."""


class WhenUsed:
    """Finds the modules of :data:`SELDOM_USED`, with a loader that executes them when an attribute is first read."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where such a module is; None for every other module."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in SELDOM_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def import_when_used() -> None:
    """Let this process execute the modules of :data:`SELDOM_USED` when they are first used."""
    if not any(isinstance(finder, WhenUsed) for finder in sys.meta_path):
        sys.meta_path.insert(0, WhenUsed())
