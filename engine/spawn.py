"""How a `claude` program is started. It needs nothing of the SDK, which takes half a second to import."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.agents import Agent

VERIFIED_CLI = "2.1.332"
"""The program that the facts were found with and that every test runs: the one in the SDK's wheel."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """How to start a process.

    ``bare`` drops Claude Code's reminder blocks (fact F2); a login by OAuth does not work with it (F4). ``env`` is laid
    over what it inherits from this process's environment: the names in :mod:`engine.inherited`, those that fit one of
    the patterns ``inherits``, and none of ``not_inherited``. ``cli_path`` None means the program that the SDK brings.
    ``settings`` is a file with Claude Code's own settings. ``agent`` gives it tools of its own.
    """

    bare: bool = True
    cwd: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    env: Mapping[str, str] = field(default_factory=dict)
    cli_path: Path | None = None
    settings: Path | None = None
    agent: Agent | None = None
    inherits: Sequence[str] = ()
    not_inherited: Collection[str] = ()

    @property
    def can_resume(self) -> bool:
        """Whether its configuration folder is ours to put a transcript into."""
        return "CLAUDE_CONFIG_DIR" in self.env
